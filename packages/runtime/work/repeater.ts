import { type Log, reasonOf } from "../log.ts";
import { isTransient } from "../transient.ts";

/** The pause after a run that left nothing to do; another process may add something to the same database. */
const IDLE_MS = 5_000;

/** What a run may return: nothing is left to do until something is added. */
export type Rest = "idle" | void;

/**
 * Runs `work` repeatedly: at once when woken, otherwise after `everyMs`, or after 5 s where `work`
 * has returned that nothing is left to do. One run at a time; a long run checks `stopped` in
 * between. A transient database error is logged and retried; any other error that `work` throws is
 * a bug and ends the process.
 */
export class Repeater {
  readonly #log: Log;
  readonly #work: (stopped: () => boolean) => Promise<Rest>;
  readonly #everyMs: number;
  #wake = Promise.withResolvers<void>();
  #stopped = false;
  readonly #done: Promise<void>;

  constructor(log: Log, everyMs: number, work: (stopped: () => boolean) => Promise<Rest>) {
    this.#log = log;
    this.#everyMs = everyMs;
    this.#work = work;
    this.#done = this.#loop();
  }

  wake(): void {
    this.#wake.resolve();
  }

  /** Resolves when the run in progress, if any, is finished; no more are started. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.wake();
    await this.#done;
  }

  async #loop(): Promise<void> {
    while (!this.#stopped) {
      this.#wake = Promise.withResolvers<void>();
      let rest: Rest = undefined;
      try {
        rest = await this.#work(() => this.#stopped);
      } catch (error) {
        if (!isTransient(error)) throw error;
        this.#log.warn("store_unavailable", { reason: reasonOf(error) });
      }
      if (this.#stopped) return;
      const pauseMs = rest === "idle" ? Math.max(IDLE_MS, this.#everyMs) : this.#everyMs;
      const timer = setTimeout(() => this.wake(), pauseMs);
      await this.#wake.promise;
      clearTimeout(timer);
    }
  }
}
