import { withUpLock, takeDown } from "../up/campus.ts";
import { type Command, UsageError } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { MODELS } from "../models.ts";

export const command: Command = {
  summary: "end what up has started",
  usage: "",
  details:
    "Services stop in order (SIGTERM), then the brokers end. Databases and logs stay in .lab/up until the next start, which deletes them.",
  async run({ words }) {
    if (words.length > 0) throw new UsageError("down takes no words");
    const models = Object.values(MODELS).map(({ model }) => model);
    return interruptible(async (signal) => {
      const { data, ended } = await withUpLock(() => takeDown(models), signal);
      if (ended.length > 0) console.log(`down: ${ended.join(", ")}`);
      else console.log(data ? "down: it had ended already" : "nothing was up");
      return 0;
    });
  },
};
