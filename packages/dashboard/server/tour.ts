// Keeps the predictions and the results of the tour: a prediction once made is never changed.
import { type Evidence, writeEvidence } from "@lab/evidence/evidence";
import { machine, newRunId, openRun, runsFolder } from "@lab/evidence/run-folder";
import { settings } from "@lab/evidence/settings";
import { join } from "node:path";
import type { TourStep } from "../contract/tour.ts";
import { type Experiment, EXPERIMENTS, type Stage } from "./tour-steps.ts";
import type { Watched } from "./watched.ts";

export class Tour {
  readonly #stage: Stage;
  readonly #experiments: Experiment[];
  readonly steps: TourStep[];
  readonly #started = new Date();
  #running = false;

  constructor(stage: Stage) {
    this.#stage = stage;
    const there = stage.models.map(({ model }) => model);
    this.#experiments = EXPERIMENTS.filter(({ needs }) =>
      needs.every((one) => there.includes(one)),
    );
    this.steps = this.#experiments.map(({ answers, id, method, question, requirement, title }) => ({
      id,
      requirement,
      title,
      method,
      question,
      answers,
      state: "open",
      predicted: null,
      right: null,
      says: "",
      figure: null,
    }));
  }

  /** Locks the prediction, and begins the run; what comes of it is in `steps`. */
  predict(id: string, answer: number): string {
    const at = this.steps.findIndex((one) => one.id === id);
    const step = this.steps[at];
    if (step === undefined) throw new Error(`the tour has no step ${id}`);
    if (step.predicted !== null) throw new Error("this prediction is locked");
    if (this.#running) throw new Error("another step is running");
    step.predicted = answer;
    void this.#run(step, this.#experiments[at]!);
    return `“${step.answers[answer]}” is locked; it runs`;
  }

  /** Writes the finished steps as evidence of a run; returns its folder. */
  async export(): Promise<string> {
    const folder = await openRun(join(runsFolder, `${newRunId()}-tour`));
    const models = new Set(this.#experiments.map(({ model }) => model));
    let written = 0;
    for (const model of models) {
      const own = this.steps.filter((_, n) => this.#experiments[n]!.model === model);
      const done = own.filter(({ state }) => state === "done");
      if (done.length === 0) continue;
      written += 1;
      await writeEvidence(folder, await this.#evidenceOf(model, done));
    }
    if (written === 0) throw new Error("no step is finished yet");
    return folder;
  }

  async #run(step: TourStep, { needs, run }: Experiment): Promise<void> {
    this.#running = true;
    step.state = "running";
    const { act } = this.#stage;
    const models = needs.map((name) => this.#stage.models.find(({ model }) => model === name)!);
    try {
      await act({ do: "heal" });
      const { figure, right, says } = await run({ act, models });
      Object.assign(step, { figure, right, says });
    } catch (error) {
      // Not scored: it may be run again.
      step.predicted = null;
      step.says = `the run failed: ${(error as Error).message}`;
    } finally {
      await act({ do: "heal" }).catch(() => {});
      step.state = step.right === null ? "open" : "done";
      this.#running = false;
    }
  }

  async #evidenceOf(model: Watched["model"], done: readonly TourStep[]): Promise<Evidence> {
    const hits = done.filter(({ predicted, right }) => predicted === right).length;
    return {
      experiment: "tour",
      model,
      question: "What was expected, and what happened?",
      method: "Each prediction was locked before its run on the real system.",
      disproof:
        "A step that doesn't come to its end. A wrong prediction is none: it is what the tour is for.",
      requirements: done.map(({ requirement }) => requirement),
      started_at: this.#started.toISOString(),
      duration_s: Math.round((Date.now() - this.#started.getTime()) / 1_000),
      machine: await machine(),
      versions: {},
      brokers: "as scripts/lab live had them",
      seed: settings().labSeed,
      parameters: {},
      tables: [
        {
          id: "predictions",
          title: "Predicted, and measured",
          columns: [
            { name: "step" },
            { name: "predicted" },
            { name: "happened" },
            { name: "measured" },
          ],
          rows: done.map(({ answers, predicted, right, says, title }) => [
            title,
            answers[predicted!]!,
            answers[right!]!,
            says,
          ]),
        },
      ],
      series: [],
      excerpts: [],
      figures: {
        steps: done.length,
        predicted_right: hits,
        ...Object.fromEntries(
          done.map(({ figure, id }) => [`${id.replaceAll("-", "_")}_${figure![0]}`, figure![1]]),
        ),
      },
      checks: [],
      held: true,
    };
  }
}
