import { repoFolder } from "@lab/evidence/folders";
import { runFolder } from "@lab/evidence/run-folder";
import { relative } from "node:path";
import { type Command } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { modelsNamed } from "../models.ts";
import { runTests, sayResults } from "../run/run-tests.ts";
import { benchmarks } from "../run/test-files.ts";

export const command: Command = {
  summary: "the models beside what their transports give at most, in one run",
  usage: "[sync|async|stream]",
  details: `Each model and its yardsticks (packages/bench/yardsticks) in turn, A B A B, on this machine in this run.
What counts is the ratio. LAB_LENGTH=short or long makes fewer or more rounds. The machine should have
nothing else to do. The last line is: N passed, N failed.`,
  async run({ words }) {
    const models = modelsNamed(words);
    return interruptible(async (signal) => {
      const folder = await runFolder();
      const files = benchmarks().filter(({ model }) => models.includes(model));
      const results = await runTests(files, { runFolder: folder, signal });
      const { failed, passed } = await sayResults(results, folder);
      console.log(`evidence: ${relative(repoFolder, folder)}`);
      console.log(`${passed} passed, ${failed} failed`);
      return failed === 0 ? 0 : 1;
    });
  },
};
