import { type Log, reasonOf } from "./log.ts";
import { onStopTimeout } from "./service.ts";

/**
 * A failure that may pass, or that an operator can repair: nothing was done, and the work may be
 * retried.
 */
export class TransientError extends Error {}

const kinds: ((error: unknown) => boolean)[] = [];

/** Makes other errors count as transient too, such as a library's own. */
export function transientWhen(isOfThem: (error: unknown) => boolean): void {
  kinds.push(isOfThem);
}

/** Whether the error may pass, or be repaired. Any other is a bug. */
export function isTransient(error: unknown): boolean {
  return error instanceof TransientError || kinds.some((isOfThem) => isOfThem(error));
}

const PAUSE_MS = 500;
/** For how long after the start of a stop it still retries. */
const STOPPING_MS = 2_000;
let stopping = false;
onStopTimeout(STOPPING_MS, () => (stopping = true));

/**
 * Retries a consumer's commit until the database accepts it: meanwhile the consumer is paused, and
 * its messages wait at the broker. If such failures counted as attempts, healthy messages would be
 * dead-lettered.
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
