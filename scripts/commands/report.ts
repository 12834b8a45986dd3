import { writeReport } from "@lab/report/render/report";
import { join } from "node:path";
import type { Command } from "../command.ts";
import { chosenRuns } from "../run/runs.ts";

export const command: Command = {
  summary: "write the report of a run, or of several: report.html and report.md",
  usage: "[RUN…]",
  details: `RUN is a folder, or its name in .lab/runs; without it, the newest run. Of several runs the
report is made as of one, into the folder of the last; what more than one has is taken from the last.`,
  async run({ words }) {
    const folders = await chosenRuns(words);
    const report = await writeReport(folders, join(folders.at(-1)!, "report"));
    console.log(`${report.html}\n${report.markdown}`);
    for (const shortfall of report.shortfalls) {
      console.log(`fell short: ${shortfall}`);
    }
    if (report.notRun.length > 0) console.log(`not run: ${report.notRun.join(", ")}`);
    return 0;
  },
};
