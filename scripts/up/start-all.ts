// What the commands share that start models: which models are meant, and starting them together.
import { unknown, UsageError } from "../command.ts";
import { MODELS } from "../models.ts";
import { endStarted, namesUp, prepare, start, undo } from "./campus.ts";
import { reportSettings } from "./environment.ts";
import type { Start, UpOptions } from "./start.ts";

/** Throws a UsageError for a word that is no model. */
export function refuseWrongWords(words: readonly string[]): void {
  const known = Object.keys(MODELS);
  for (const word of words) {
    if (word !== "all" && !known.includes(word)) {
      throw new UsageError(unknown("model", word, [...known, "all"]));
    }
  }
}

/** The models named by the arguments; without arguments, those that are up. */
async function namesOf(words: readonly string[]): Promise<string[]> {
  const known = Object.keys(MODELS);
  const names =
    words.length === 0
      ? await namesUp()
      : known.filter((name) => words.includes("all") || words.includes(name));
  if (names.length === 0) {
    throw new UsageError(`nothing is up; what is to start: ${known.join(", ")} or all?`);
  }
  if (names.length > 1) forbidSharedPorts();
  return names;
}

function forbidSharedPorts(): void {
  for (const name of ["ORDER", "INVENTORY", "NOTIFICATION"]) {
    if (!process.env[`${name}_PORT`]) continue;
    throw new UsageError(`${name}_PORT is for one model: start them one after the other`);
  }
}

/**
 * Starts the models concurrently. When one fails, or on Ctrl-C, everything that was started here is
 * ended.
 */
export async function startAll(
  words: readonly string[],
  how: UpOptions,
  signal: AbortSignal,
): Promise<Start[]> {
  const names = await namesOf(words);
  await reportSettings(names.map((name) => MODELS[name]!.model));
  const starts = await prepare(names, how);
  signal.throwIfAborted();
  let settled = false;
  // Ends what was started while others still wait for it to be ready, and what is started meanwhile too.
  const onAbort = async () => {
    while (!settled) {
      await all(starts, endStarted).catch(() => {});
      await Bun.sleep(100);
    }
  };
  signal.addEventListener("abort", onAbort);
  const results = await Promise.allSettled(starts.map((one) => start(one, how, signal)));
  settled = true;
  signal.removeEventListener("abort", onAbort);
  const failed = results.find((one) => one.status === "rejected");
  if (failed === undefined && !signal.aborted) return starts;
  await all(starts, undo);
  throw failed?.reason ?? signal.reason;
}

/** Does a job for each start at the same time. */
export async function all(starts: Start[], job: (one: Start) => Promise<void>): Promise<void> {
  await Promise.all(starts.map(job));
}
