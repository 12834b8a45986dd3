import { type Log, reasonOf } from "./log.ts";
import { onStopTimeout } from "./service.ts";

/** Something that passes, or that somebody can mend: nothing was done, and it may be done later. */
export class TransientError extends Error {}

const kinds: ((error: unknown) => boolean)[] = [];

/** Has errors of others count as transient, too, such as a library's own. */
export function transientWhen(isOfThem: (error: unknown) => boolean): void {
  kinds.push(isOfThem);
}

/** Whether it may pass, or be mended. What isn't is a bug. */
export function isTransient(error: unknown): boolean {
  return error instanceof TransientError || kinds.some((isOfThem) => isOfThem(error));
}

const PAUSE_MS = 500;
/** How long a stop lets it try on. */
const STOPPING_MS = 2_000;
let stopping = false;
onStopTimeout(STOPPING_MS, () => (stopping = true));

/**
 * A consumer's commit, tried until the database takes it: meanwhile it is paused, and what waits
 * for it waits at the broker. To count such failures as attempts would make healthy messages dead.
 */
export async function retryTransient<T>(log: Log, commit: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await commit();
    } catch (error) {
      if (stopping || !isTransient(error)) throw error;
      log.warn("store_unavailable", { reason: reasonOf(error) });
      await Bun.sleep(PAUSE_MS);
    }
  }
}
