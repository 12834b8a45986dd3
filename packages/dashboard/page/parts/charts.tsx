import type { Series } from "@lab/evidence/evidence";
import { chart } from "@lab/report/render/chart";
import { useRef } from "preact/hooks";
import type { Band, Tick } from "../../contract/frame.ts";
import { facts, frame, history } from "../live/state.ts";

/** What the charts show. */
const SHOWN: {
  id: string;
  title: string;
  unit: string;
  log?: true;
  of: (tick: Tick, n: number) => number | null;
}[] = [
  {
    id: "end",
    title: "Time to the end, p95 of the last minute",
    unit: "ms",
    log: true,
    of: ({ end_ms }, n) => end_ms[n] ?? null,
  },
  {
    id: "waiting",
    title: "Orders under way, or waiting",
    unit: "orders",
    of: ({ waiting }, n) => waiting[n] ?? 0,
  },
  {
    id: "rate",
    title: "Orders ended in the last minute",
    unit: "orders",
    of: ({ per_minute }, n) => per_minute[n] ?? 0,
  },
];

/** A chart has so many points of a line: more can't be told apart. */
const MOST_POINTS = 300;

/** Drawn anew each second, when there is a new tick. */
export function Charts() {
  const ticks = history.value;
  const drawn = useRef<{ at: number; charts: string[] }>({ at: 0, charts: [] });
  const at = ticks.at(-1)?.at_ms ?? 0;
  if (at !== drawn.current.at) {
    drawn.current = {
      at,
      charts: SHOWN.map((one) => {
        const { id, title } = one;
        const plot = { kind: "lines" as const, series: seriesOf(one, ticks) };
        return chart({ id, finding: title, about: title, plot }, `live-${id}`, "strip");
      }),
    };
  }
  return (
    <section class="charts" aria-labelledby="charts-title">
      <h2 id="charts-title">The last ten minutes</h2>
      {ticks.length < 2 ? (
        <p class="quiet">The first seconds are being measured.</p>
      ) : (
        <div class="strips">
          {SHOWN.map(({ id, title }, n) => (
            <figure key={id}>
              <figcaption>{title}</figcaption>
              <div dangerouslySetInnerHTML={{ __html: drawn.current.charts[n]! }} />
            </figure>
          ))}
        </div>
      )}
      <Healed />
    </section>
  );
}

function seriesOf(
  { id, log, of, title, unit }: (typeof SHOWN)[number],
  ticks: readonly Tick[],
): Series {
  const endMs = ticks.at(-1)?.at_ms ?? 0;
  const every = Math.max(1, Math.ceil(ticks.length / MOST_POINTS));
  const shown = ticks.filter((_, n) => (ticks.length - 1 - n) % every === 0);
  const x = (ms: number) => Math.round((ms - endMs) / 100) / 10;
  const first = ticks[0]?.at_ms ?? endMs;
  return {
    id,
    title,
    x: { name: "seconds ago", unit: "s", from: x(first) },
    y: { name: unit, unit, ...(log && { log }) },
    lines: facts.value.map((one, n) => ({
      name: `${one.part} ${one.title.split(":").at(-1)!.trim()}`,
      points: shown.flatMap((tick): [number, number][] => {
        // Where there is no value, the line has a gap.
        return [[x(tick.at_ms), of(tick, n) ?? Number.NaN]];
      }),
    })),
    shaded: bandsSince(first).map(({ from_ms, id, to_ms }) => ({
      // The list below says what it stands for: the charts are too small for it.
      label: String(id),
      from: x(Math.max(from_ms, first)),
      to: x(Math.min(to_ms ?? endMs, endMs)),
    })),
  };
}

function bandsSince(ms: number): Band[] {
  return (frame.value?.bands ?? []).filter(({ to_ms }) => to_ms === null || to_ms > ms);
}

/** What the numbered bands of the charts stand for, and how long each fault has lasted. */
function Healed() {
  const bands = (frame.value?.bands ?? []).slice(-MOST_LISTED);
  if (bands.length === 0) return null;
  return (
    <ul class="healed" aria-label="What was broken">
      {bands.toReversed().map(({ from_ms, id, label, to_ms }) => (
        <li key={id}>
          <span class="quiet">{id}</span> {label}:{" "}
          <b>{to_ms === null ? "now" : `healed after ${lasted({ from_ms, to_ms })} s`}</b>
        </li>
      ))}
    </ul>
  );
}

const MOST_LISTED = 12;

/** Seconds, with a decimal. */
function lasted({ from_ms, to_ms }: { from_ms: number; to_ms: number }): number {
  return Math.round((to_ms - from_ms) / 100) / 10;
}
