/**
 * Runs `work` again and again: at once when woken, otherwise after `everyMs`.
 * One run at a time. `work` handles its own errors; what escapes is a bug and
 * ends the process.
 */
export class Repeater {
  readonly #work: () => Promise<void>;
  readonly #everyMs: number;
  #wake = Promise.withResolvers<void>();
  #stopped = false;
  readonly #done: Promise<void>;

  constructor(everyMs: number, work: () => Promise<void>) {
    this.#everyMs = everyMs;
    this.#work = work;
    this.#done = this.#loop();
  }

  wake(): void {
    this.#wake.resolve();
  }

  /** Resolves when the run that goes on, if any, is finished; none follows. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.wake();
    await this.#done;
  }

  async #loop(): Promise<void> {
    while (!this.#stopped) {
      this.#wake = Promise.withResolvers<void>();
      await this.#work();
      if (this.#stopped) return;
      const timer = setTimeout(() => this.wake(), this.#everyMs);
      await this.#wake.promise;
      clearTimeout(timer);
    }
  }
}
