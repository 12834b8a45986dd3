import { type Command, UsageError } from "../command.ts";
import { describeUp, statusUp } from "../up/describe.ts";

export const command: Command = {
  summary: "show what up has left running",
  usage: "[--json]",
  options: { json: { type: "boolean", summary: "the same as JSON" } },
  async run({ options, words }) {
    if (words.length > 0) throw new UsageError("status takes no words");
    console.log(
      options["json"] === true
        ? JSON.stringify(await statusUp(), undefined, 2)
        : await describeUp(),
    );
    return 0;
  },
};
