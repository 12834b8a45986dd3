import { repoFolder } from "@lab/evidence/folders";
import { stormSchedule } from "@lab/proof/kills/storm-schedule";
import { runFolder } from "@lab/evidence/run-folder";
import { Settings, settings, stormMinutes } from "@lab/evidence/settings";
import { COUNTS } from "@lab/report/render/proof";
import { relative } from "node:path";
import { type Command } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { modelsNamed } from "../models.ts";
import { evidenceOf, runTests, sayResults, type TestResult } from "../run/run-tests.ts";
import { modelTests } from "../run/test-files.ts";

const { labSeed: SEED, labStormMinutes: MINUTES } = Settings.properties;

export const command: Command = {
  summary: "a storm: orders under kills, pauses, a bad network and a dying broker",
  usage: "[sync|async|stream|all] [--minutes N] [--seed S]",
  details: `The storms of several models go side by side. The same seed and length repeat the schedule. Exit
code 1 when the checker finds a violation. Schedule, history and evidence go into a new folder of
.lab/runs.`,
  options: {
    minutes: {
      type: "number",
      least: MINUTES.minimum!,
      most: MINUTES.maximum!,
      fraction: true,
      summary: "how long (LAB_STORM_MINUTES, else 2)",
    },
    seed: {
      type: "number",
      least: SEED.minimum!,
      most: SEED.maximum!,
      summary: "which schedule (LAB_SEED, or 1)",
    },
  },
  async run({ options, words }) {
    const models = modelsNamed(words);
    const { labSeed } = settings();
    const seed = Number(options["seed"] ?? labSeed);
    const minutes = Number(options["minutes"] ?? stormMinutes());
    const files = modelTests().filter(
      ({ isProof, model, name }) => isProof && name === "storm" && models.includes(model),
    );
    // Throws for a storm that is too short, before a broker is started.
    for (const { model } of files) stormSchedule(seed, minutes, model);
    return interruptible(async (signal) => {
      const folder = await runFolder();
      const env = { LAB_STORM_MINUTES: String(minutes), LAB_SEED: String(seed) };
      const results = await runTests(files, { runFolder: folder, signal, envOf: () => env });
      const { failed } = await sayResults(results, folder);
      for (const result of results) console.log(await verdictOf(folder, result));
      console.log(`evidence: ${relative(repoFolder, folder)}`);
      return failed === 0 ? 0 : 1;
    });
  },
};

/** The checker's result in one line. */
async function verdictOf(folder: string, { file }: TestResult): Promise<string> {
  const { figures = {} } = (await evidenceOf(folder, file)) ?? {};
  const counts = Object.keys(COUNTS)
    .filter((name) => figures[name] !== undefined)
    .map((name) => `${figures[name]} ${name}`);
  return `${file.model}: ${counts.join(", ") || "nothing was counted"}`;
}
