import { type Owed, owed } from "@lab/runtime/health";
import type { Log } from "@lab/runtime/log";
import { patienceOf, wordsOf } from "./errors.ts";

/** The same is told again after that long, and another reason at the earliest after that long. */
const AGAIN_MS = 60_000;
const NEXT_MS = 5_000;

interface Trouble {
  reason: string;
  sinceMs: number;
  /** Since when it is for this reason. */
  reasonMs: number;
  /** What was logged of it last, and when. */
  told: { reason: string; atMs: number } | undefined;
  /** So long it may last for this reason, and pass by itself. */
  patienceMs: number;
  /** Records that wait for it to pass, where it is a partition's. */
  records: number | undefined;
}

interface TroubleOptions {
  patienceMs?: number;
  quietMs?: number;
  records?: number;
}

/** What keeps a service from its work: said in its log when it comes, when it is another, and when it goes; and in `/health`. */
export class Troubles {
  readonly #log: Log;
  readonly #troubles = new Map<string, Trouble>();

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * Something is wrong about `what`. It is no problem until it has lasted `patienceMs`, and not worth
   * a line until it has lasted `quietMs`.
   */
  note(
    what: string,
    reason: string,
    { patienceMs = 0, quietMs = 0, records }: TroubleOptions = {},
  ): void {
    const now = Date.now();
    const before = this.#troubles.get(what);
    const sinceMs = before?.sinceMs ?? now;
    const reasonMs = before?.reason === reason ? before.reasonMs : now;
    let told = before?.told;
    const pauseMs = told?.reason === reason ? AGAIN_MS : patienceMs === 0 ? 0 : NEXT_MS;
    if (now - (told?.atMs ?? 0) >= pauseMs && now - sinceMs >= quietMs) {
      this.#log[patienceMs === 0 ? "error" : "warn"]("trouble", { what, reason });
      told = { reason, atMs: now };
    }
    this.#troubles.set(what, { reason, sinceMs, reasonMs, told, patienceMs, records });
  }

  /** `what` went wrong with that error. */
  noteError(what: string, error: unknown): void {
    this.note(what, wordsOf(error), { patienceMs: patienceOf(error) });
  }

  /** Nothing is wrong about `what`, or not any more. */
  clear(what: string): void {
    const trouble = this.#troubles.get(what);
    this.#troubles.delete(what);
    if (trouble?.told) this.#log.info("trouble_over", { what });
  }

  /** What won't pass by waiting. */
  get problems(): string[] {
    return this.#inWords((lastedMs, patienceMs) => lastedMs >= patienceMs);
  }

  /** What may pass by waiting. */
  get passing(): string[] {
    return this.#inWords((lastedMs, patienceMs) => lastedMs < patienceMs);
  }

  #inWords(which: (lastedMs: number, patienceMs: number) => boolean): string[] {
    const now = Date.now();
    return [...this.#troubles]
      .filter(([, { patienceMs, reasonMs }]) => which(now - reasonMs, patienceMs))
      .map(([what, { reason }]) => `${what}: ${reason}`);
  }

  /** The records of partitions that stand still. */
  get standing(): Owed {
    const standing = [...this.#troubles.values()].filter(({ records }) => records !== undefined);
    const count = standing.reduce((sum, { records = 0 }) => sum + records, 0);
    return owed(count, Math.min(...standing.map(({ sinceMs }) => sinceMs)));
  }
}
