import { repoFolder } from "@lab/evidence/folders";
import { runFolder } from "@lab/evidence/run-folder";
import { relative } from "node:path";
import { type Command, UsageError } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { runTests, sayResults } from "../run/run-tests.ts";
import { namedRun } from "../run/runs.ts";
import { chooseTests, modelTests, type TestFile } from "../run/test-files.ts";

/** A line each. */
function namesOf(isWanted: (file: TestFile) => boolean): string {
  const names = modelTests().filter(isWanted);
  return names.map(({ model, name }) => `  ${model}/${name}`).join("\n");
}

export const command: Command = {
  summary: "run some experiments",
  usage: "EXPERIMENT… [--into RUN]",
  details: `Experiments:
${namesOf(({ isExperiment }) => isExperiment)}

Proofs:
${namesOf(({ isProof }) => isProof)}

Other tests:
${namesOf(({ isExperiment, isProof }) => !isExperiment && !isProof)}

The model's name may be left out. The evidence goes into a new folder of .lab/runs, or with --into
beside that of an earlier run, where it replaces what the same experiment left.

Brokers run in containers where Docker Compose is, else as processes; LAB_BROKERS=compose or native
forces it. LAB_SERVICES=compose LAB_BROKERS=compose runs the services in containers too.`,
  options: { into: { type: "string", summary: "a run's folder, or its name in .lab/runs" } },
  async run({ options, words }) {
    if (words.length === 0) throw new UsageError("which experiments?");
    const files = chooseTests(words, modelTests());
    const into = options["into"];
    const earlier = typeof into === "string" ? namedRun(into) : undefined;
    return interruptible(async (signal) => {
      const folder = earlier ?? (await runFolder());
      const results = await runTests(files, { runFolder: folder, signal });
      const { failed } = await sayResults(results, folder);
      console.log(`evidence: ${relative(repoFolder, folder)}`);
      return failed === 0 ? 0 : 1;
    });
  },
};
