import { verify } from "../checks.ts";
import { type Command, UsageError } from "../command.ts";
import { interruptible } from "../interrupt.ts";

export const command: Command = {
  summary: "check the code in seconds: format, types, lint, dead code, unit tests",
  usage: "",
  async run({ words }) {
    if (words.length > 0) throw new UsageError("verify takes no words");
    return interruptible(async (signal) => {
      const { failed } = await verify(signal);
      return failed === 0 ? 0 : 1;
    });
  },
};
