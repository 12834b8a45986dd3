import { DELAY_MS } from "../../contract/frame.ts";
import { frame } from "../live/state.ts";

export function Legend() {
  const scales = [...new Set(frame.value!.models.map(({ scale }) => scale))].filter(
    (one) => one > 1,
  );
  return (
    <section class="legend" aria-label="Legend">
      <p>
        <svg viewBox="0 0 10 10" aria-hidden="true">
          <circle class="dot" cx="5" cy="5" r="4" />
        </svg>{" "}
        an order on its way; click it to follow it
      </p>
      <p>
        <svg viewBox="0 0 10 10" aria-hidden="true">
          <path class="cross" d="M1 1L9 9M9 1L1 9" />
        </svg>{" "}
        an order that failed
      </p>
      <p>
        Dots are played {DELAY_MS / 1_000} s late. Numbers come from the services and brokers, not
        from dots.
      </p>
      {scales.length > 0 && (
        <p class="warn">Where there are many: 1 dot = {scales.join(" or ")} orders.</p>
      )}
    </section>
  );
}
