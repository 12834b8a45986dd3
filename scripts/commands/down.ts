import { takeDown } from "../campus.ts";
import { type Command, UsageError } from "../command.ts";
import { MODELS } from "../models.ts";

export const command: Command = {
  summary: "end what up has started",
  usage: "",
  details:
    "Services stop in order (SIGTERM), then the brokers end. Databases and logs stay in .lab/up until the next start.",
  async run({ words }) {
    if (words.length > 0) throw new UsageError("down takes no words");
    const ended = await takeDown(Object.values(MODELS).map(({ model }) => model));
    console.log(ended.length === 0 ? "nothing was up" : `down: ${ended.join(", ")}`);
    return 0;
  },
};
