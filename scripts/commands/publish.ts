import { repoFolder } from "@lab/lab/folders";
import { publish } from "@lab/report/publish";
import { relative } from "node:path";
import type { Command } from "../command.ts";
import { chosenRun } from "../runs.ts";
import { say } from "../say.ts";

export const command: Command = {
  summary: "put a run's results into the repository: results/ and the READMEs",
  usage: "[RUN]",
  details: "RUN is a folder, or its name in .lab/runs; without it, the newest run.",
  async run({ words }) {
    const { leftOut, written } = await publish(await chosenRun(words));
    for (const file of written) console.log(relative(repoFolder, file));
    for (const experiment of leftOut) {
      say(`left out, it didn't hold: ${experiment}`);
    }
    return leftOut.length === 0 ? 0 : 1;
  },
};
