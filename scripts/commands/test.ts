import { dockerProblem } from "@lab/lab/machine/compose-engine";
import { runFolder } from "@lab/evidence/run-folder";
import { testFiles, verify } from "../checks.ts";
import { type Command, UsageError } from "../command.ts";
import { interruptible, unlessAborted } from "../interrupt.ts";
import { prepareFor, runTests, sayResults, total } from "../run/run-tests.ts";
import { holdsInContainers, modelTests, processTests, type TestFile } from "../run/test-files.ts";

export const command: Command = {
  summary: "everything that must pass: verify, then every test and experiment",
  usage: "[--compose]",
  details: `At short lengths (LAB_LENGTH), several files at once: whether all holds shows here, how fast it is
doesn't. scripts/lab proof runs the proofs at full length. Brokers and services are processes of this
machine, unless AMQP_URL and KAFKA_BROKERS say where brokers run or LAB_BROKERS says otherwise. The
last line is: N passed, N failed.`,
  options: {
    compose: {
      type: "boolean",
      summary: "brokers in containers by the parts' compose files, the experiments' services too",
    },
  },
  async run({ options, words }) {
    if (words.length > 0) throw new UsageError("test takes no words");
    if (options["compose"] === true) {
      const problem = dockerProblem();
      if (problem !== undefined) throw new Error(problem);
      process.env["LAB_BROKERS"] = "compose";
    }
    // Without --compose never containers, so that the result doesn't depend on Docker.
    process.env["LAB_BROKERS"] ||= "external,native";
    process.env["LAB_LENGTH"] ||= "short";
    return interruptible(async (signal) => {
      const files = modelTests();
      // On a new machine the brokers are fetched meanwhile.
      const preparing = unlessAborted(signal, prepareFor(files));
      const [checks] = await Promise.all([verify(signal), preparing]);
      const envOf = (file: TestFile): Record<string, string> =>
        options["compose"] === true && holdsInContainers(file) ? { LAB_SERVICES: "compose" } : {};
      const folder = await runFolder();
      const beside = testFiles("tests with processes", processTests(), signal);
      const [processes, results] = await Promise.all([
        beside,
        runTests(files, { runFolder: folder, signal, experimentsBeside: true, beside, envOf }),
      ]);
      await sayResults(results, folder);
      const { failed, passed } = total([checks, processes, ...results]);
      console.log(`${passed} passed, ${failed} failed`);
      return failed === 0 ? 0 : 1;
    });
  },
};
