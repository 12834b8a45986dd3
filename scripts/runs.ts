import { newestRun } from "@lab/lab/evidence";
import { runsFolder } from "@lab/lab/run-folder";
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { unknown, UsageError } from "./command.ts";

/** The run's folder that the words name: a folder, a name in .lab/runs, or the newest one. Throws when there is none. */
export async function chosenRun(words: readonly string[]): Promise<string> {
  const [word, ...more] = words;
  if (more.length > 0) throw new UsageError("one run at a time");
  if (word === undefined) {
    const newest = await newestRun(runsFolder);
    if (newest !== undefined) return newest;
    throw new Error("there is no run yet: scripts/lab does one");
  }
  const folder = [resolve(word), join(runsFolder, word)].find((one) =>
    existsSync(join(one, "run.json")),
  );
  if (folder !== undefined) return folder;
  const names = existsSync(runsFolder) ? readdirSync(runsFolder) : [];
  throw new UsageError(unknown("run", word, names.toSorted()));
}
