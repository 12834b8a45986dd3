import { runFolder } from "@lab/lab/run-folder";
import { verify } from "../checks.ts";
import { type Command, UsageError } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { runTests, sayResults, total } from "../run-tests.ts";
import { modelTests } from "../test-files.ts";

export const command: Command = {
  summary: "everything that must pass: verify, then every test and experiment",
  usage: "",
  details: "The last line is: N passed, N failed.",
  async run({ words }) {
    if (words.length > 0) throw new UsageError("test takes no words");
    return interruptible(async (signal) => {
      const checks = await verify(signal);
      const results = await runTests(modelTests(), await runFolder(), signal);
      sayResults(results);
      const { failed, passed } = total([checks, ...results]);
      console.log(`${passed} passed, ${failed} failed`);
      return failed === 0 ? 0 : 1;
    });
  },
};
