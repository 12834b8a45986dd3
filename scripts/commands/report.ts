import { writeReport } from "@lab/report/render/report";
import { join } from "node:path";
import { printPdf } from "@lab/lab/machine/chromium";
import type { Command } from "../command.ts";
import { AUTHOR_OPTIONS, authorOf } from "../run/author.ts";
import { chosenRuns } from "../run/runs.ts";

export const command: Command = {
  summary: "write the report of a run, or of several: report.html and report.md",
  usage: "[RUN…] [--pdf] [--name NAME] [--team TEAM]",
  details: `RUN is a folder, or its name in .lab/runs; without it, the newest run. Of several runs the
report is made as of one, into the folder of the last; what more than one has is taken from the last.`,
  options: {
    pdf: { type: "boolean", summary: "print it as report.pdf, too, with this machine's Chromium" },
    ...AUTHOR_OPTIONS,
  },
  async run({ options, words }) {
    const folders = await chosenRuns(words);
    const out = join(folders.at(-1)!, "report");
    const report = await writeReport(folders, out, authorOf(options));
    console.log(`${report.html}\n${report.markdown}`);
    if (options["pdf"] === true) {
      const pdf = join(out, "report.pdf");
      await printPdf(report.html, pdf);
      console.log(pdf);
    }
    for (const shortfall of report.shortfalls) {
      console.log(`fell short: ${shortfall}`);
    }
    if (report.notRun.length > 0) console.log(`not run: ${report.notRun.join(", ")}`);
    return 0;
  },
};
