/**
 * Gathers what arrives one by one into batches: while one batch is worked on,
 * the next gathers. One `work` at a time, in order. `work` handles its own
 * errors; what escapes is a bug and ends the process.
 */
export class Batches<T> {
  readonly #work: (batch: T[]) => Promise<void>;
  readonly #limit: (waiting: readonly T[]) => number;
  #waiting: T[] = [];
  #running: Promise<void> | undefined;

  /** `limit` gives how many of those that wait the next batch may have, asked anew for each. */
  constructor(limit: (waiting: readonly T[]) => number, work: (batch: T[]) => Promise<void>) {
    this.#limit = limit;
    this.#work = work;
  }

  push(item: T): void {
    this.#waiting.push(item);
    this.#running ??= this.#run();
  }

  /** Forgets what waits. */
  clear(): void {
    this.#waiting = [];
  }

  /** Resolves when nothing runs and nothing waits. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    // What arrives in the same turn goes into the same batch.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) {
      await this.#work(this.#waiting.splice(0, this.#limit(this.#waiting)));
    }
    this.#running = undefined;
  }
}
