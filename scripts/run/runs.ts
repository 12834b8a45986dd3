import { newestRun } from "@lab/evidence/evidence";
import { experiments } from "@lab/evidence/experiments";
import { runsFolder } from "@lab/evidence/run-folder";
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";
import { unknown, UsageError } from "../command.ts";

/**
 * The folders of the runs that the arguments name, or of the newest one. Throws when there is none.
 */
export async function chosenRuns(words: readonly string[]): Promise<string[]> {
  if (words.length > 0) return words.map(namedRun);
  const newest = await newestRun(runsFolder);
  if (newest !== undefined) return [newest];
  throw new Error("there is no run yet: scripts/lab does one");
}

/** The newest run in which every experiment left its evidence. Throws when there is none. */
export async function completeRun(): Promise<string> {
  const names = existsSync(runsFolder) ? readdirSync(runsFolder).toSorted().toReversed() : [];
  const folder = names
    .map((name) => join(runsFolder, name))
    .find((run) =>
      Object.entries(experiments).every(([name, model]) =>
        existsSync(join(run, model, `${name}.json`)),
      ),
    );
  if (folder !== undefined) return folder;
  throw new Error("no run has every experiment: scripts/lab does one, or name a run");
}

/** The run's folder: a folder, or a name in .lab/runs. Throws when there is none. */
export function namedRun(word: string): string {
  const folder = [resolve(word), join(runsFolder, word)].find((one) =>
    existsSync(join(one, "run.json")),
  );
  if (folder !== undefined) return folder;
  const names = existsSync(runsFolder) ? readdirSync(runsFolder) : [];
  throw new UsageError(unknown("run", word, names.toSorted()));
}
