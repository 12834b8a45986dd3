import { useSignal } from "@preact/signals";
import { act, facts, frame, key, last, underWay } from "../live/state.ts";
import { number } from "../live/words.ts";

const BURSTS = [10, 100, 1_000];
const RATES = [0, 60, 600, 5_000];

export function Toolbar() {
  const count = useSignal(100);
  const rate = useSignal(0);
  const models = facts.value.map(({ model }) => model);
  const off = key === "";
  const all = models.length === 3 ? "all three" : models.length === 1 ? "it" : "both";
  const load = frame.value?.load;
  return (
    <section class="toolbar" aria-label="Place orders">
      <button
        type="button"
        class="primary"
        disabled={off}
        onClick={() => void act({ do: "place", models })}
      >
        Order once in {all}
      </button>
      <div class="group">
        <label for="burst">Burst of</label>
        <select
          id="burst"
          value={count.value}
          onChange={(event) => (count.value = Number(event.currentTarget.value))}
        >
          {BURSTS.map((one) => (
            <option key={one} value={one}>
              {number(one)}
            </option>
          ))}
        </select>
        <button
          type="button"
          disabled={off}
          onClick={() => void act({ do: "burst", models, count: count.value })}
        >
          Start
        </button>
      </div>
      <div class="group">
        <label for="rate">Steady</label>
        <select
          id="rate"
          value={rate.value}
          disabled={off}
          onChange={(event) => {
            rate.value = Number(event.currentTarget.value);
            void act({ do: "steady", models, per_minute: rate.value });
          }}
        >
          {RATES.map((one) => (
            <option key={one} value={one}>
              {one === 0 ? "none" : `${number(one)} a minute`}
            </option>
          ))}
        </select>
        {load !== "" && (
          <button
            type="button"
            disabled={off}
            aria-label={`Stop the ${load}`}
            onClick={() => {
              rate.value = 0;
              void act({ do: "steady", models, per_minute: 0 });
            }}
          >
            Stop
          </button>
        )}
      </div>
      <Last />
    </section>
  );
}

/** The command that does the same as the last click, and what became of it. */
function Last() {
  if (last.value === undefined) {
    return <p class="last quiet">Each click shows here the command that does the same by hand.</p>;
  }
  const { command, failed, said } = last.value;
  const lines = command.split("\n");
  return (
    <div class="last">
      <p class={failed ? "said bad" : "said"} role={failed ? "alert" : undefined}>
        {underWay.value.length > 0 ? "… " : ""}
        {said}
      </p>
      <div class="same">
        <code>
          {lines[0]}
          {lines.length > 1 && ` (and ${lines.length - 1} more)`}
        </code>
        <button
          type="button"
          class="small"
          aria-label="Copy the command"
          onClick={() => void navigator.clipboard?.writeText(command)}
        >
          Copy
        </button>
      </div>
    </div>
  );
}
