const signals = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/** A service has 10 s to stop, and is killed after 12. */
const CLEAN_UP_MS = 20_000;

/**
 * `bun run` forwards the SIGINT that the terminal has already sent to all its processes, including
 * this one: a second signal so soon after the first is the same keypress.
 */
const SAME_MS = 1_000;

/**
 * Does a job that Ctrl-C may interrupt: `signal` is aborted then, the job cleans
 * up and returns or throws, and the exit code is 130 (128 + the signal's number)
 * whatever it was. A second Ctrl-C ends the process at once.
 */
export async function interruptible(
  job: (signal: AbortSignal) => Promise<number>,
): Promise<number> {
  const interrupted = new AbortController();
  let code: number | undefined;
  let sinceMs = 0;
  const listeners = Object.entries(signals).map(([name, number]) => {
    const listener = () => {
      if (code !== undefined) {
        if (performance.now() - sinceMs > SAME_MS) process.exit(code);
        return;
      }
      code = 128 + number;
      sinceMs = performance.now();
      process.stderr.write("\ninterrupted: ending what was started …\n");
      interrupted.abort();
      // A clean-up that hangs must not keep processes alive: exiting ends all of them.
      setTimeout(() => process.exit(code), CLEAN_UP_MS).unref();
    };
    process.on(name, listener);
    return () => process.off(name, listener);
  });
  try {
    const own = await job(interrupted.signal);
    return code ?? own;
  } catch (error) {
    if (code !== undefined) return code;
    throw error;
  } finally {
    for (const remove of listeners) remove();
  }
}

/** The promise's value; throws as soon as `signal` is aborted, without waiting for it. */
export async function unlessAborted<T>(signal: AbortSignal, promise: Promise<T>): Promise<T> {
  signal.throwIfAborted();
  const aborted = Promise.withResolvers<never>();
  const listener = () => aborted.reject(signal.reason);
  signal.addEventListener("abort", listener);
  try {
    return await Promise.race([promise, aborted.promise]);
  } finally {
    signal.removeEventListener("abort", listener);
  }
}
