/**
 * Collects items that arrive one by one into batches: while one batch is processed, the next is
 * collected. One `work` at a time, in order. `work` handles its own errors; one that it throws is a
 * bug and ends the process.
 */
export class Batches<T> {
  readonly #work: (batch: T[]) => Promise<void>;
  readonly #limit: (waiting: readonly T[]) => number;
  #waiting: T[] = [];
  #running: Promise<void> | undefined;

  /**
   * `limit` returns how many of the waiting items the next batch may take; it is called for each
   * batch.
   */
  constructor(limit: (waiting: readonly T[]) => number, work: (batch: T[]) => Promise<void>) {
    this.#limit = limit;
    this.#work = work;
  }

  push(item: T): void {
    this.#waiting.push(item);
    this.#running ??= this.#run();
  }

  /** Drops the waiting items. */
  clear(): void {
    this.#waiting = [];
  }

  /** Resolves when nothing runs and nothing waits. */
  async idle(): Promise<void> {
    while (this.#running) await this.#running;
  }

  async #run(): Promise<void> {
    // Items that arrive in the same turn of the event loop go into the same batch.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) {
      await this.#work(this.#waiting.splice(0, this.#limit(this.#waiting)));
    }
    this.#running = undefined;
  }
}
