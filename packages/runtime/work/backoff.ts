/** The longest pause between two attempts at one work item, unless the caller sets another. */
const MAX_PAUSE_MS = 5_000;

/**
 * Exponential backoff: when each failed work item is due again. In memory, so that a restarted
 * process retries all at once.
 */
export class Backoff<Id> {
  readonly #firstMs: number;
  readonly #failed = new Map<Id, { times: number; dueMs: number }>();

  constructor(firstMs: number) {
    this.#firstMs = firstMs;
  }

  /** Doubles the item's pause, up to `mostMs`. */
  failed(id: Id, mostMs = MAX_PAUSE_MS): void {
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

  /** Whether no item has failed. */
  get isEmpty(): boolean {
    return this.#failed.size === 0;
  }

  /** The items that are not due yet. */
  waiting(): Id[] {
    return [...this.#failed.keys()].filter((id) => !this.isDue(id));
  }
}
