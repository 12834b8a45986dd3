/**
 * Clean-ups that run however this process ends: normally, by `process.exit`, or by Ctrl-C. (After a
 * SIGKILL the children's lifeline does it. `bun test` fires no `exit` at its normal end: preload.ts
 * runs the same list there.)
 */
const cleanups = new Set<() => void>();

const SIGNALS = { SIGHUP: 1, SIGINT: 2, SIGTERM: 15 } as const;

/**
 * Registers a synchronous clean-up for the end of this process and returns the
 * function that takes it off the list again. The last one registered runs first.
 */
export function atExit(cleanUp: () => void): () => void {
  if (cleanups.size === 0) listen();
  cleanups.add(cleanUp);
  return () => {
    cleanups.delete(cleanUp);
    if (cleanups.size === 0) unlisten();
  };
}

/** Runs and forgets every registered clean-up; one that throws stops no other. */
export function cleanUpNow(): void {
  for (const cleanUp of [...cleanups].reverse()) {
    try {
      cleanUp();
    } catch (error) {
      console.error("clean-up failed:", error);
    }
  }
  cleanups.clear();
  unlisten();
}

function listen(): void {
  process.on("exit", cleanUpNow);
  for (const signal of Object.keys(SIGNALS)) process.on(signal, onSignal);
}

function unlisten(): void {
  process.off("exit", cleanUpNow);
  for (const signal of Object.keys(SIGNALS)) process.off(signal, onSignal);
}

/** Ends the process, unless a command handles the signal too: then its own graceful stop does. */
function onSignal(signal: keyof typeof SIGNALS): void {
  if (process.listenerCount(signal) > 1) return;
  process.exit(128 + SIGNALS[signal]);
}
