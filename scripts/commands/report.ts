import { readRun } from "@lab/evidence/evidence";
import { textTable } from "@lab/lab/host/text-table";
import { changesBetween, differences } from "@lab/report/compare/changes";
import { changesTable, comparePage } from "@lab/report/compare/page";
import { inOrder } from "@lab/report/render/compose";
import { toHtml } from "@lab/report/render/html";
import { writeReport } from "@lab/report/render/report";
import { basename, join } from "node:path";
import { printPdf } from "@lab/lab/machine/chromium";
import { type Command, UsageError } from "../command.ts";
import { AUTHOR_OPTIONS, authorOf } from "../run/author.ts";
import { chosenRuns, namedRun } from "../run/runs.ts";
import { say } from "../say.ts";

export const command: Command = {
  summary: "write the report of a run, or of several: report.html and report.md",
  usage: "[RUN…] [--pdf] [--name NAME] [--team TEAM] | --compare RUN RUN",
  details: `RUN is a folder, or its name in .lab/runs; without it, the newest run. Of several runs the
report is made as of one, into the folder of the last; what more than one has is taken from the last.`,
  options: {
    pdf: { type: "boolean", summary: "print it as report.pdf, too, with this machine's Chromium" },
    compare: { type: "boolean", summary: "two runs side by side: what changed beyond noise" },
    ...AUTHOR_OPTIONS,
  },
  async run({ options, words }) {
    if (options["compare"] === true) return compare(words);
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

/** Prints what changed from the first run to the second, and writes both side by side as a page. */
async function compare(words: readonly string[]): Promise<number> {
  const [first, second, ...more] = words.map(namedRun);
  if (first === undefined || second === undefined || more.length > 0) {
    throw new UsageError("--compare takes two runs");
  }
  const names: [string, string] = [basename(first), basename(second)];
  const [before, after] = await Promise.all([readRun(first), readRun(second)]);
  const pair = { names, before: inOrder(before.evidence), after: inOrder(after.evidence) };
  const changed = changesBetween(pair.before, pair.after).filter((one) => one.changed);
  const { columns, rows } = changesTable(changed, names);
  // Of the page's columns the last says "yes" in every row.
  const lines = [columns.map(({ name }) => name), ...rows].map((row) =>
    row.slice(0, -1).map((cell) => cell.replaceAll("`", "")),
  );
  if (changed.length > 0) console.log(textTable(lines).join("\n"));
  for (const line of differences(pair.before, pair.after)) say(line);
  const file = join(second, "report", `compare-${names[0]}.html`);
  await Bun.write(file, toHtml("Two runs side by side", names.join(", then "), comparePage(pair)));
  console.log(`${changed.length} figures changed beyond noise: ${file}`);
  return 0;
}
