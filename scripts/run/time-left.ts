import { repoFolder } from "@lab/evidence/folders";
import { settings } from "@lab/evidence/settings";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestFile } from "./test-files.ts";

/** An experiment's start and end, with those of its model's broker; seen on two cores. */
const AROUND_S = 2;

/**
 * How long test files that run one after the other will still take, by what their published results
 * took. Of other files, and at another length, nothing is known.
 */
export class TimeLeft {
  readonly #leftS: Map<TestFile, number>;
  readonly #sinceMs = new Map<TestFile, number>();

  constructor(files: readonly TestFile[], durationS = expectedS) {
    this.#leftS = new Map(files.map((file) => [file, durationS(file) + AROUND_S]));
  }

  begin(file: TestFile): void {
    this.#sinceMs.set(file, Date.now());
  }

  end(file: TestFile): void {
    this.#leftS.delete(file);
  }

  /** Undefined where nothing is known of one of the files. */
  seconds(): number | undefined {
    let sum = 0;
    for (const [file, seconds] of this.#leftS) {
      const since = this.#sinceMs.get(file);
      sum += since === undefined ? seconds : Math.max(0, seconds - (Date.now() - since) / 1_000);
    }
    return Number.isNaN(sum) ? undefined : sum;
  }
}

function expectedS(file: TestFile): number {
  return file.isExperiment && settings().labLength === "full" ? publishedS(file) : Number.NaN;
}

/** What the file took when its results were published, at full length; NaN where there are none. */
export function publishedS({ model, name }: TestFile): number {
  try {
    const published = readFileSync(join(repoFolder, model, "results", `${name}.json`), "utf8");
    return (JSON.parse(published) as { duration_s: number }).duration_s;
  } catch {
    // Not published yet.
    return Number.NaN;
  }
}
