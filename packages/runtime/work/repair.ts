import { Backoff } from "./backoff.ts";
import type { Log } from "../log.ts";
import { Repeater } from "./repeater.ts";

/**
 * The result of one attempt. `refused`: the neighbour answered, and didn't do it. `no_answer`: the
 * neighbour didn't answer, perhaps because of this item. `unreachable`: it answers nobody.
 */
export type Attempt = "done" | "refused" | "no_answer" | "unreachable";

/** Items that are attempted at once. */
const LANES = 4;
const PAGE = 100;

export interface RepairOptions {
  /** Up to `limit` ids of pending items above `after`, in ascending order. */
  owed: (limit: number, after: string) => string[];
  attempt: (id: string) => Promise<Attempt>;
}

/**
 * Retries pending work until it is done. A failed item waits longer each time and delays no other;
 * a neighbour that doesn't answer is sent one item, and nothing more until the next run.
 */
export class Repair {
  readonly #options: RepairOptions;
  readonly #backoff: Backoff<string>;
  readonly #repeater: Repeater;
  #stopping = false;

  constructor(log: Log, everyMs: number, options: RepairOptions) {
    this.#options = options;
    this.#backoff = new Backoff(everyMs);
    this.#repeater = new Repeater(log, everyMs, () => this.#run());
  }

  wake(): void {
    this.#repeater.wake();
  }

  /** Resolves when the attempts in progress are finished; no more are started. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#repeater.stop();
  }

  async #run(): Promise<void> {
    const due = this.#due();
    // A single item first, to see whether the neighbour answers.
    if (!(await this.#lane(due, 1))) return;
    const lanes = Array.from({ length: LANES }, () => this.#lane(due, Infinity));
    const failed = (await Promise.allSettled(lanes)).find(({ status }) => status === "rejected");
    if (failed) throw (failed as PromiseRejectedResult).reason;
  }

  *#due(): Generator<string, undefined> {
    for (let after = ""; ;) {
      const page = this.#options.owed(PAGE, after);
      yield* page.filter((id) => this.#backoff.isDue(id));
      if (page.length < PAGE) return;
      after = page.at(-1)!;
    }
  }

  /**
   * Attempts up to `most` due items; false, and the end of all lanes, once the neighbour doesn't
   * answer.
   */
  async #lane(due: Generator<string, undefined>, most: number): Promise<boolean> {
    for (let n = 0; n < most && !this.#stopping; n += 1) {
      const { done, value: id } = due.next();
      if (done) break;
      const became = await this.#options.attempt(id);
      if (became === "done") this.#backoff.done(id);
      else if (became !== "unreachable") this.#backoff.failed(id);
      if (became === "no_answer" || became === "unreachable") {
        due.return(undefined);
        return false;
      }
    }
    return !this.#stopping;
  }
}
