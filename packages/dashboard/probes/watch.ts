/** What was seen last, and when: each figure on the page has an age. */
export interface Seen<T> {
  value: T | undefined;
  at_ms: number;
}

/** A look that keeps the processor busy rests afterwards for so many times as long: the models need it, too. */
const RESTS = 60;

/** Looks every `everyMs`, one look at a time, until `signal`. A look that fails keeps the last value, which gets older. */
export function watch<T>(
  everyMs: number,
  signal: AbortSignal,
  look: () => T | Promise<T>,
): Seen<T> {
  const seen: Seen<T> = { value: undefined, at_ms: 0 };
  void (async () => {
    while (!signal.aborted) {
      const startMs = performance.now();
      let busyMs = 0;
      try {
        const looking = look();
        busyMs = performance.now() - startMs;
        seen.value = await looking;
        seen.at_ms = Date.now();
      } catch {
        // Its broker or its service is down: the age says it.
      }
      await Bun.sleep(Math.max(20, everyMs - (performance.now() - startMs), busyMs * RESTS));
    }
  })();
  return seen;
}

/** Null for what was never seen. */
export function ageOf({ at_ms }: Seen<unknown>): number | null {
  return at_ms === 0 ? null : Date.now() - at_ms;
}
