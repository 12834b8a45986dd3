import { repoFolder } from "@lab/lab/folders";
import { runFolder } from "@lab/lab/run-folder";
import { COUNTS } from "@lab/report/proof";
import { relative } from "node:path";
import { type Command, type Input, unknown, UsageError } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { MODELS } from "../models.ts";
import { evidenceOf, runTests, sayResults, type TestResult } from "../run-tests.ts";
import { modelTests } from "../test-files.ts";

export const command: Command = {
  summary: "a storm: orders under kills, pauses, a bad network and a dying broker",
  usage: "[sync|async|stream|all] [--minutes N] [--seed S]",
  details: `The storms of several models go side by side. The same seed and length repeat the schedule. Exit
code 1 when the checker finds a violation. Schedule, history and evidence go into a new folder of
.lab/runs.`,
  options: {
    minutes: { type: "string", summary: "how long (2)" },
    seed: { type: "string", summary: "which schedule (LAB_SEED, or 1)" },
  },
  async run({ options, words }) {
    const models = modelsOf(words);
    const minutes = numberOf("minutes", options, (n) => n > 0);
    const seed = numberOf("seed", options, Number.isSafeInteger);
    const files = modelTests().filter(
      ({ isProof, model, name }) => isProof && name === "storm" && models.includes(model),
    );
    return interruptible(async (signal) => {
      const folder = await runFolder();
      const env = {
        ...(minutes === undefined ? {} : { LAB_STORM_MINUTES: minutes }),
        ...(seed === undefined ? {} : { LAB_SEED: seed }),
      };
      const results = await runTests(files, folder, signal, () => env);
      const { failed } = await sayResults(results, folder);
      for (const result of results) console.log(await verdictOf(folder, result));
      console.log(`evidence: ${relative(repoFolder, folder)}`);
      return failed === 0 ? 0 : 1;
    });
  },
};

function modelsOf(words: readonly string[]): string[] {
  const names = Object.keys(MODELS);
  const wanted = words.length === 0 || words.includes("all") ? names : words;
  return wanted.map((word) => {
    const one = Object.hasOwn(MODELS, word) ? MODELS[word] : undefined;
    if (one === undefined) throw new UsageError(unknown("model", word, [...names, "all"]));
    return one.model;
  });
}

/** The option as it was given; undefined when it wasn't. */
function numberOf(
  name: string,
  options: Input["options"],
  isGood: (value: number) => boolean,
): string | undefined {
  const text = options[name];
  if (text === undefined) return undefined;
  if (!text || !isGood(Number(text)))
    throw new UsageError(`--${name} ${String(text)}: a number, please`);
  return String(text);
}

/** What the checker found, in a line. */
async function verdictOf(folder: string, { file }: TestResult): Promise<string> {
  const { figures = {} } = (await evidenceOf(folder, file)) ?? {};
  const counts = Object.keys(COUNTS)
    .filter((name) => figures[name] !== undefined)
    .map((name) => `${figures[name]} ${name}`);
  return `${file.model}: ${counts.join(", ") || "nothing was counted"}`;
}
