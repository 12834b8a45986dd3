/** What was seen last, and when: each figure on the page has an age. */
export interface Seen<T> {
  value: T | undefined;
  at_ms: number;
}

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
      try {
        seen.value = await look();
        seen.at_ms = Date.now();
      } catch {
        // Its broker or its service is down: the age says it.
      }
      await Bun.sleep(Math.max(20, everyMs - (performance.now() - startMs)));
    }
  })();
  return seen;
}

/** Null for what was never seen. */
export function ageOf({ at_ms }: Seen<unknown>): number | null {
  return at_ms === 0 ? null : Date.now() - at_ms;
}
