import { type Owed, owed } from "@lab/runtime/health";
import type { Log } from "@lab/runtime/log";
import { describeError, gracePeriodOf } from "./errors.ts";

/**
 * The same reason is logged again after AGAIN_MS, a new reason no earlier than NEXT_MS after the
 * last.
 */
const AGAIN_MS = 60_000;
const NEXT_MS = 5_000;

interface Trouble {
  reason: string;
  sinceMs: number;
  /** Since when it has had this reason. */
  reasonMs: number;
  /** The reason that was logged last, and when. */
  logged: { reason: string; atMs: number } | undefined;
  /** For how long it may last with this reason before it counts as permanent. */
  graceMs: number;
  /** For a partition: the records that wait for it to pass. */
  records: number | undefined;
}

interface TroubleOptions {
  graceMs?: number;
  quietMs?: number;
  records?: number;
}

/** What keeps a service from its work: logged when it begins, changes and ends; shown in `/health`. */
export class Troubles {
  readonly #log: Log;
  readonly #troubles = new Map<string, Trouble>();

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * Something is wrong with `what`. It counts as a problem once it has lasted `graceMs`, and is
   * logged once it has lasted `quietMs`.
   */
  note(
    what: string,
    reason: string,
    { graceMs = 0, quietMs = 0, records }: TroubleOptions = {},
  ): void {
    const now = Date.now();
    const before = this.#troubles.get(what);
    const sinceMs = before?.sinceMs ?? now;
    const reasonMs = before?.reason === reason ? before.reasonMs : now;
    let logged = before?.logged;
    const pauseMs = logged?.reason === reason ? AGAIN_MS : graceMs === 0 ? 0 : NEXT_MS;
    if (now - (logged?.atMs ?? 0) >= pauseMs && now - sinceMs >= quietMs) {
      this.#log[graceMs === 0 ? "error" : "warn"]("trouble", { what, reason });
      logged = { reason, atMs: now };
    }
    this.#troubles.set(what, { reason, sinceMs, reasonMs, logged, graceMs, records });
  }

  /** `what` failed with that error. */
  noteError(what: string, error: unknown): void {
    this.note(what, describeError(error), { graceMs: gracePeriodOf(error) });
  }

  /** Nothing is wrong with `what`, or no longer. */
  clear(what: string): void {
    const trouble = this.#troubles.get(what);
    this.#troubles.delete(what);
    if (trouble?.logged) this.#log.info("trouble_over", { what });
  }

  /** Troubles that won't pass by themselves. */
  get problems(): string[] {
    return this.#asText((lastedMs, graceMs) => lastedMs >= graceMs);
  }

  /** Troubles that may pass by themselves. */
  get passing(): string[] {
    return this.#asText((lastedMs, graceMs) => lastedMs < graceMs);
  }

  #asText(which: (lastedMs: number, graceMs: number) => boolean): string[] {
    const now = Date.now();
    return [...this.#troubles]
      .filter(([, { graceMs, reasonMs }]) => which(now - reasonMs, graceMs))
      .map(([what, { reason }]) => `${what}: ${reason}`);
  }

  /** The records that wait in stalled partitions. */
  get stalled(): Owed {
    const stalled = [...this.#troubles.values()].filter(({ records }) => records !== undefined);
    const count = stalled.reduce((sum, { records = 0 }) => sum + records, 0);
    return owed(count, Math.min(...stalled.map(({ sinceMs }) => sinceMs)));
  }
}
