/** The longest pause between two attempts at one piece of work, unless somebody says otherwise. */
const MOST_PAUSE_MS = 5_000;

/** When each piece of work that failed is due again: later and later. In memory, so that a new start tries all at once. */
export class Backoff<Id> {
  readonly #firstMs: number;
  readonly #failed = new Map<Id, { times: number; dueMs: number }>();

  constructor(firstMs: number) {
    this.#firstMs = firstMs;
  }

  /** Twice as long a pause as before, but no longer than `mostMs`. */
  failed(id: Id, mostMs = MOST_PAUSE_MS): void {
    const times = (this.#failed.get(id)?.times ?? 0) + 1;
    const pauseMs = Math.min(mostMs, this.#firstMs * 2 ** Math.min(times - 1, 20));
    this.#failed.set(id, { times, dueMs: performance.now() + pauseMs });
  }

  done(id: Id): void {
    this.#failed.delete(id);
  }

  isDue(id: Id): boolean {
    return (this.#failed.get(id)?.dueMs ?? 0) <= performance.now();
  }

  /** Those that are not due yet. */
  waiting(): Id[] {
    return [...this.#failed.keys()].filter((id) => !this.isDue(id));
  }
}
