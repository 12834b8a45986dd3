/** When each piece of work that failed is due again: later and later. In memory, so that a new start tries all at once. */
export class Backoff<Id> {
  readonly #firstMs: number;
  readonly #mostMs: number;
  readonly #failed = new Map<Id, { times: number; dueMs: number }>();

  constructor(firstMs: number, mostMs: number) {
    this.#firstMs = firstMs;
    this.#mostMs = Math.max(firstMs, mostMs);
  }

  failed(id: Id): void {
    const times = (this.#failed.get(id)?.times ?? 0) + 1;
    const pauseMs = Math.min(this.#mostMs, this.#firstMs * 2 ** Math.min(times - 1, 20));
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
