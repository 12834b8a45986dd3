import { writeReport } from "@lab/report/report";
import { join } from "node:path";
import type { Command } from "../command.ts";
import { chosenRun } from "../runs.ts";

export const command: Command = {
  summary: "write the report of a run: report.html and report.md",
  usage: "[RUN]",
  details: "RUN is a folder, or its name in .lab/runs; without it, the newest run.",
  async run({ words }) {
    const folder = await chosenRun(words);
    const report = await writeReport(folder, join(folder, "report"));
    console.log(`${report.html}\n${report.markdown}`);
    for (const shortfall of report.shortfalls) {
      console.log(`fell short: ${shortfall}`);
    }
    return 0;
  },
};
