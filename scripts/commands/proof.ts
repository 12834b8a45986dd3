import { repoFolder } from "@lab/evidence/folders";
import { runFolder } from "@lab/evidence/run-folder";
import { relative } from "node:path";
import { type Command, UsageError } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { runTests, sayResults } from "../run/run-tests.ts";
import { modelTests } from "../run/test-files.ts";

export const command: Command = {
  summary: "the proofs alone: kills, faults, mutants, storms, and the checker's verdicts",
  usage: "",
  details: `Every file of the parts' tests/proof, several at once. scripts/lab test runs them too, at short
length. LAB_LENGTH=short or long makes shorter or longer rounds here. Kafka's network-faults and storm want
Java, with Docker too. The evidence goes into a new folder of .lab/runs. The last line is: N passed, N failed.`,
  async run({ words }) {
    if (words.length > 0)
      throw new UsageError("proof takes no words: scripts/lab run NAME runs one");
    const files = modelTests().filter(({ isProof }) => isProof);
    return interruptible(async (signal) => {
      const folder = await runFolder();
      const results = await runTests(files, { runFolder: folder, signal });
      const { failed, passed } = await sayResults(results, folder);
      console.log(`evidence: ${relative(repoFolder, folder)}`);
      console.log(`${passed} passed, ${failed} failed`);
      return failed === 0 ? 0 : 1;
    });
  },
};
