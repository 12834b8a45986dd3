import type { LampFrame, ModelFrame } from "../../contract/frame.ts";
import { type Facts, open } from "../live/state.ts";

const SIGNS: Record<LampFrame["state"], string> = {
  unknown: "○",
  waiting: "◌",
  kept: "✓",
  broken: "✕",
};

/** The checker's promises. */
export function Lamps({ facts, model }: { facts: Facts; model: ModelFrame }) {
  return (
    <div class="row lamps">
      <ul aria-label={`Promises of ${facts.title}`}>
        {model.lamps.map(({ name, orders, says, state }) => (
          <li key={name} class={state}>
            <span class="lamp">
              <i aria-hidden="true">{SIGNS[state]}</i> {name}
              <span class="unseen">: {state}</span>
            </span>
            {(state === "broken" || state === "waiting" || state === "unknown") && (
              <span class="quiet says">{says}</span>
            )}
            {orders.map((id) => (
              <button
                key={id}
                type="button"
                class="small id"
                onClick={() => open({ kind: "order", model: model.model, suffix: id.slice(-8) })}
              >
                …{id.slice(-8)}
              </button>
            ))}
          </li>
        ))}
      </ul>
      {facts.protections.length > 0 && (
        <button
          type="button"
          class="small"
          onClick={() => open({ kind: "protections", model: model.model })}
        >
          Take a protection away
        </button>
      )}
    </div>
  );
}
