import { Backoff } from "./backoff.ts";
import type { Log } from "../log.ts";
import { Repeater } from "./repeater.ts";

/**
 * What became of one attempt. `refused`: the neighbour answers, and doesn't do it. `no_answer`: to
 * this piece of work, or to any. `unreachable`: to nobody's.
 */
export type Attempt = "done" | "refused" | "no_answer" | "unreachable";

/** So many pieces of work go on at once. */
const LANES = 4;
const PAGE = 100;

export interface RepairOptions {
  /** Up to `limit` ids of what is owed, above `after`, in their order. */
  owed: (limit: number, after: string) => string[];
  attempt: (id: string) => Promise<Attempt>;
}

/**
 * Does what is owed, again and again until it is done. What fails waits longer each time and holds
 * up nothing else; a neighbour that doesn't answer is asked for one piece of work, and left alone
 * until the next run.
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

  /** Resolves when the attempts that run are finished; none follows. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#repeater.stop();
  }

  async #run(): Promise<void> {
    const due = this.#due();
    // One to see whether anybody is there.
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

  /** Works on up to `most` of what is due; false once the neighbour doesn't answer, for all lanes. */
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
