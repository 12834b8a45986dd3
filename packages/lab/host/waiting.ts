/** Microseconds of a monotonic clock with an arbitrary zero. */
export function nowUs(): number {
  return Math.round(Bun.nanoseconds() / 1_000);
}

/** What a probe returns while the condition isn't met. */
export type NotYet = undefined | null | false;

/**
 * Probes until the value is not undefined, null or false, and returns it. A probe that throws
 * counts as "not yet". After `timeoutMs` throws an error with the label and with the last value or
 * error that was seen.
 */
export async function eventually<T>(
  label: string,
  probe: () => T | NotYet | Promise<T | NotYet>,
  { timeoutMs = 60_000, everyMs = 50 }: { timeoutMs?: number; everyMs?: number } = {},
): Promise<T> {
  const deadlineUs = nowUs() + timeoutMs * 1_000;
  let seen = "no answer to the first probe";
  for (;;) {
    const leftMs = (deadlineUs - nowUs()) / 1_000;
    if (leftMs <= 0) {
      throw new Error(`not within ${timeoutMs} ms: ${label} (last: ${seen})`);
    }
    try {
      // The probe itself may hang: it gets no more than the remaining time.
      const value = await withDeadline(probe, leftMs);
      if (value === TIMED_OUT) {
        seen = `a probe that hung; before it ${seen}`;
        continue;
      }
      if (value !== undefined && value !== null && value !== false) {
        return value as T;
      }
      seen = String(value);
    } catch (error) {
      seen = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    }
    await pause(Math.min(everyMs, Math.max(0, (deadlineUs - nowUs()) / 1_000)));
  }
}

/**
 * For what must *not* happen: watches a value for `forMs` and returns it. Throws
 * as soon as it isn't deep-equal to the first one any more.
 */
export async function settled<T>(
  label: string,
  probe: () => T | Promise<T>,
  { forMs = 1_000, everyMs = 50 }: { forMs?: number; everyMs?: number } = {},
): Promise<T> {
  const first = await probe();
  const startUs = nowUs();
  for (;;) {
    const passedMs = (nowUs() - startUs) / 1_000;
    const value = await probe();
    if (!Bun.deepEquals(value, first, true)) {
      throw new Error(
        `did not stay for ${forMs} ms: ${label} (after ${Math.round(passedMs)} ms ` +
          `${Bun.inspect(first)} became ${Bun.inspect(value)})`,
      );
    }
    if (passedMs >= forMs) return value;
    await pause(everyMs);
  }
}

/** Waits for the duration of an outage: the only wait for a time and not for a condition. */
export async function outage(durationS: number): Promise<void> {
  await pause(durationS * 1_000);
}

/** A value over time: [seconds since the sampler's start, value]. */
export interface Sampler<T> {
  readonly points: [number, T][];
  /** The number of probes that threw, and have no sample. */
  readonly missed: number;
  /** Takes a last sample and ends; never throws. */
  stop(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Samples a value every `everyMs` until it is stopped, `zeroUs` (see `nowUs`)
 * being second 0. A probe that throws, as one does while its broker is down,
 * leaves a gap.
 */
export function sample<T>(
  probe: () => T | Promise<T>,
  { everyMs = 250, zeroUs = nowUs() }: { everyMs?: number; zeroUs?: number } = {},
): Sampler<T> {
  const points: [number, T][] = [];
  const stopped = Promise.withResolvers<void>();
  let running = true;
  let missed = 0;
  const once = async () => {
    const atS = Math.round((nowUs() - zeroUs) / 1_000) / 1_000;
    try {
      points.push([atS, await probe()]);
    } catch {
      missed += 1;
    }
  };
  const loop = (async () => {
    while (running) {
      await once();
      await Promise.race([pause(everyMs), stopped.promise]);
    }
    await once();
  })();
  const stop = async () => {
    running = false;
    stopped.resolve();
    await loop;
  };
  return {
    points,
    get missed() {
      return missed;
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

const TIMED_OUT = Symbol("timed out");

async function withDeadline<T>(
  probe: () => T | Promise<T>,
  timeoutMs: number,
): Promise<T | typeof TIMED_OUT> {
  const late = Promise.withResolvers<typeof TIMED_OUT>();
  const timer = setTimeout(() => late.resolve(TIMED_OUT), timeoutMs);
  try {
    return await Promise.race([probe(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

function pause(durationMs: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, durationMs));
}
