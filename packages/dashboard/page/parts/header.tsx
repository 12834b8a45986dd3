import { useRef } from "preact/hooks";
import {
  act,
  connection,
  facts,
  frame,
  isUnderWay,
  key,
  open,
  openBands,
  tab,
} from "../live/state.ts";
import { ms, number, times } from "../live/words.ts";

export function Header() {
  const isLive = connection.value === "live";
  return (
    <header class="top">
      <h1>
        Campus food lab <span class="quiet">one order, three ways to talk</span>
      </h1>
      <nav aria-label="More">
        <button type="button" onClick={() => open({ kind: "tour" })}>
          Tour
        </button>
        <button type="button" onClick={() => open({ kind: "replay" })}>
          Replay the stream
        </button>
      </nav>
      <p class={`connection ${connection.value}`}>
        {isLive
          ? "● live"
          : connection.value === "lost"
            ? "✕ disconnected: the numbers are old"
            : "○ connecting"}
      </p>
      {key === "" && (
        <p class="note">
          You can only look: this address has no key. Open the one that scripts/lab live printed.
        </p>
      )}
    </header>
  );
}

const HEAL = { do: "heal" } as const;

/** What is broken now, always in sight; with one button that heals all. */
export function Broken() {
  const bands = openBands.value;
  return (
    <section class={bands.length > 0 ? "broken on" : "broken"} aria-label="What is broken">
      <h2>{bands.length > 0 ? "Broken now" : "Nothing is broken"}</h2>
      {bands.length > 0 ? (
        <ul>
          {bands.map(({ from_ms, id, label }) => (
            <li key={id}>
              {label}{" "}
              <span class="quiet">
                for {seconds(from_ms)} s{struckBy(label)}
              </span>
            </li>
          ))}
        </ul>
      ) : (
        <p class="quiet">Click a service or a broker to break it.</p>
      )}
      <button
        type="button"
        class="heal"
        disabled={bands.length === 0 || key === ""}
        aria-disabled={isUnderWay(HEAL)}
        onClick={() => {
          if (!isUnderWay(HEAL)) void act(HEAL);
        }}
      >
        Heal all
      </button>
    </section>
  );
}

function seconds(fromMs: number): number {
  return Math.max(0, Math.round(((frame.value?.at_ms ?? fromMs) - fromMs) / 1_000));
}

/** How often a fault has struck, from the service that has it. */
function struckBy(label: string): string {
  const [part = "", rest = ""] = label.split(": ");
  const one = facts.value.find((each) => each.part === part);
  const model = frame.value?.models.find(({ model: name }) => name === one?.model);
  const [role = ""] = rest.split(" ");
  const service = model?.services.find(({ name }) => name.startsWith(role));
  const struck = role === "line" ? model?.network?.struck : service?.struck;
  const counts = role === "line" || Object.keys(service?.faults ?? {}).length > 0;
  return counts && struck !== undefined ? `, struck ${times(struck)}` : "";
}

/** In a narrow window: a line for each model, which chooses the column. */
export function Summary() {
  return (
    <div class="summary" role="tablist" aria-label="Model">
      {facts.value.map(({ model, part, title }, n) => {
        const { stats } = frame.value!.models[n]!;
        return (
          <button
            key={model}
            type="button"
            role="tab"
            id={`tab-${n}`}
            aria-selected={tab.value === n}
            aria-controls={`column-${n}`}
            tabIndex={tab.value === n ? 0 : -1}
            onClick={() => (tab.value = n)}
            onKeyDown={({ key: pressed }) => {
              const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[pressed];
              if (step === undefined) return;
              tab.value = (n + step + facts.value.length) % facts.value.length;
              document.getElementById(`tab-${tab.value}`)?.focus();
            }}
          >
            <b>{part}</b> {title}
            <span>
              answer {ms(stats.answer?.p50)} · end {ms(stats.end?.p50)} · open {number(stats.open)}
            </span>
          </button>
        );
      })}
    </div>
  );
}

/** Tells a screen reader what breaks and what is whole again, and nothing else. */
export function Announcer() {
  const before = useRef("");
  const now = openBands.value.map(({ label }) => label).join("; ");
  const lamps = frame
    .value!.models.flatMap(({ lamps: all, model }) =>
      all
        .filter(({ state }) => state === "broken")
        .map(({ name }) => `${model}: ${name} is broken`),
    )
    .join("; ");
  const text = [now === "" ? "Nothing is broken" : `Broken: ${now}`, lamps]
    .filter(Boolean)
    .join(". ");
  const says = before.current === "" ? "" : text;
  before.current = text;
  return (
    <p class="unseen" aria-live="polite">
      {says}
    </p>
  );
}
