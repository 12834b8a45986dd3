import { useSignal } from "@preact/signals";
import type { Stretch, Timeline } from "../../contract/answers.ts";
import { usePolled } from "../live/polled.ts";
import { factsOf } from "../live/state.ts";
import { ms, roleOf } from "../live/words.ts";
import { layOut, playedTo, type Scale } from "./scale.ts";
import { Title } from "./side.tsx";

const EVERY_MS = 1_000;
const SLOWER = 10;

/** One order's way through its model, and those of the same click beside it, on one scale. */
export function OrderPanel({ model, suffix }: { model: string; suffix: string }) {
  const { answer: lines, wrong } = usePolled<Timeline[]>(`/orders/${model}/${suffix}`, EVERY_MS);
  const playedMs = useSignal<number | undefined>(undefined);
  const all = lines.value ?? [];
  const scale = layOut(all);
  return (
    <>
      <Title>
        Order <code>…{suffix}</code>
      </Title>
      {wrong.value !== "" && <p class="warn">{wrong.value}</p>}
      {lines.value === undefined && wrong.value === "" && (
        <p class="quiet">Its steps are looked up …</p>
      )}
      {all.length > 0 && (
        <p>
          <button type="button" onClick={() => play(scale, (at) => (playedMs.value = at))}>
            Slow motion, {SLOWER} times slower
          </button>{" "}
          <span class="quiet">
            {ms(scale.lengthMs)} in all{scale.gaps.length > 0 && ", long waits drawn shorter"};
            played slower, no wait takes longer than a second
          </span>
        </p>
      )}
      {all.length > 0 && <Bars />}
      {all.map((line) => (
        <Way key={line.order_id} line={line} scale={scale} playedMs={playedMs.value} />
      ))}
    </>
  );
}

const BARS = {
  work: "works",
  call: "calls or sends",
  wait: "waits",
  cut: "failed, or cut off",
};

/** What each colour of a bar stands for; the words beside a bar say it as well. */
function Bars() {
  return (
    <p class="quiet bars">
      {Object.entries(BARS).map(([kind, words]) => (
        <span key={kind}>
          <svg viewBox="0 0 22 10" aria-hidden="true">
            <rect class={`bar ${kind}`} width="22" height="10" />
          </svg>{" "}
          {words}
        </span>
      ))}
    </p>
  );
}

function Way({
  line,
  playedMs,
  scale,
}: {
  line: Timeline;
  scale: Scale;
  playedMs: number | undefined;
}) {
  const facts = factsOf(line.model);
  const { marks, stretches } = line;
  const startMs = scale.startOf(line);
  const at = (absolute: number) => scale.place(absolute - startMs) * 100;
  const nowMs = startMs + scale.lengthMs;
  const shown = (absolute: number) => playedMs === undefined || absolute - startMs <= playedMs;
  return (
    <section class="way">
      <h3>
        {facts?.title} <span class="quiet">…{line.order_id.slice(-8)}</span>
      </h3>
      {scale.gaps.length > 0 && <Gaps scale={scale} />}
      <div class="lanes" role="list" aria-label={`Steps of the order in ${facts?.title}`}>
        {stretches
          .filter(({ from_ms }) => shown(from_ms))
          .map((one, n) => {
            const end = Math.min(
              one.to_ms ?? nowMs,
              playedMs === undefined ? Infinity : startMs + playedMs,
            );
            const left = at(one.from_ms);
            const text = `${roleOf(one.service)}: ${one.name}, ${lengthOf(one)}`;
            return (
              <div key={n} class={`lane depth-${Math.min(one.depth, 6)}`} role="listitem">
                <span class="label">{text}</span>
                <svg viewBox="0 0 100 10" preserveAspectRatio="none" aria-hidden="true">
                  {scale.gaps.map((gap) => (
                    <rect
                      key={gap.at}
                      class="gap"
                      x={gap.at * 100}
                      width={gap.width * 100}
                      y="0"
                      height="10"
                    />
                  ))}
                  <rect
                    class={`bar ${one.kind}${one.cut ? " cut" : ""}${one.outcome === "error" ? " error" : ""}`}
                    x={left}
                    width={Math.max(0.6, at(end) - left)}
                    y="2"
                    height="6"
                  />
                </svg>
              </div>
            );
          })}
      </div>
      <ol class="marks">
        {marks
          .filter(({ at_ms }) => shown(at_ms))
          .map(({ at_ms, service, what }) => (
            <li key={`${at_ms} ${what} ${service}`}>
              <span class="when">+{ms(at_ms - startMs)}</span> {roleOf(service)}: {what}
            </li>
          ))}
      </ol>
    </section>
  );
}

function lengthOf({ cut, from_ms, to_ms }: Stretch): string {
  if (to_ms === null) return "still under way";
  return cut ? `cut off after ${ms(to_ms - from_ms)}: its process ended` : ms(to_ms - from_ms);
}

/** Over the bars: how long each wait is that is drawn shorter. */
function Gaps({ scale }: { scale: Scale }) {
  const lengths = scale.gaps.map((gap) => ms(gap.ms)).join(", ");
  return (
    <svg class="gaps" viewBox="0 0 600 16" role="img" aria-label={`Drawn shorter: ${lengths}`}>
      {scale.gaps.map((gap) => (
        <text key={gap.at} x={(gap.at + gap.width / 2) * 600} y="13">
          ⋯ {ms(gap.ms)} ⋯
        </text>
      ))}
    </svg>
  );
}

/** Plays what was recorded again, slower; by frames of the screen. */
function play(scale: Scale, show: (ms: number | undefined) => void): void {
  const begunMs = performance.now();
  const step = (nowMs: number) => {
    const at = playedTo(scale, SLOWER, Math.max(0, nowMs - begunMs));
    show(at);
    if (at !== undefined) requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
}
