import type { TourStep } from "../../contract/tour.ts";
import { usePolled } from "../live/polled.ts";
import { act, isDoing, key } from "../live/state.ts";
import { Title } from "./side.tsx";

const EVERY_MS = 700;

/** The assignment's experiments: predict first, then watch, then compare. */
export function TourPanel() {
  const { answer: steps, wrong } = usePolled<TourStep[]>("/tour", EVERY_MS);
  const all = steps.value ?? [];
  const done = all.filter(({ state }) => state === "done");
  const hits = done.filter(({ predicted, right }) => predicted === right).length;
  const isRunning = all.some(({ state }) => state === "running");
  return (
    <>
      <Title>Tour</Title>
      <p>
        Say first what you expect: who only watches learns little. Your answer is locked, then the
        step runs on the real system, and is scored by this run's own number.
      </p>
      {wrong.value !== "" && <p class="warn">{wrong.value}</p>}
      {all.map((step, n) => (
        <Step key={step.id} step={step} at={n + 1} off={isRunning} />
      ))}
      {done.length > 0 && (
        <p role="status">
          <b>
            {hits} of {done.length}
          </b>{" "}
          predicted right.{" "}
          <button
            type="button"
            disabled={key === "" || isRunning}
            onClick={() => void act({ do: "export" })}
          >
            Export as evidence
          </button>
        </p>
      )}
    </>
  );
}

function Step({ at, off, step }: { step: TourStep; at: number; off: boolean }) {
  const { answers, id, method, predicted, question, requirement, right, says, state, title } = step;
  const isRight = predicted === right;
  return (
    <section class={`step-box ${state}`}>
      <h3>
        {at}. {title} <span class="quiet">{requirement}</span>
      </h3>
      <p>{method}</p>
      <fieldset disabled={off || predicted !== null || key === "" || isDoing("predict")}>
        <legend>{question}</legend>
        {answers.map((answer, n) => (
          <button
            key={answer}
            type="button"
            class={n === predicted ? "answer chosen" : "answer"}
            onClick={() => void act({ do: "predict", step: id, answer: n })}
          >
            {answer}
            {n === predicted && <span class="quiet"> · your prediction</span>}
            {n === right && <span class="good"> ✓ what happened</span>}
          </button>
        ))}
      </fieldset>
      {state === "running" && <p class="warn">It runs: look at the page beside this.</p>}
      {says !== "" && state !== "running" && (
        <p role="status">
          {state === "done" && (
            <b class={isRight ? "good" : "bad"}>{isRight ? "✓ As predicted. " : "✕ Otherwise. "}</b>
          )}
          Measured: {says}
        </p>
      )}
    </section>
  );
}
