import { runFolder } from "@lab/evidence/run-folder";
import { writeReport } from "@lab/report/render/report";
import { join } from "node:path";
import { type Command, UsageError } from "../command.ts";
import { interruptible } from "../interrupt.ts";
import { runTests, sayResults } from "../run/run-tests.ts";
import { modelTests } from "../run/test-files.ts";

export const command: Command = {
  summary: "the main job: every experiment, then the report",
  usage: "",
  details: `Starts the brokers and the three models, runs every experiment on them, writes the report and
takes everything down. Brokers run in containers where Docker Compose is, else as processes;
LAB_BROKERS=compose or native forces it. Exit code 0 only if every experiment held.`,
  async run({ words }) {
    if (words.length > 0) throw new UsageError("all takes no words");
    const files = modelTests().filter((file) => file.isExperiment);
    return interruptible(async (signal) => {
      const folder = await runFolder();
      const { failed } = await sayResults(
        await runTests(files, { runFolder: folder, signal }),
        folder,
      );
      const report = await writeReport([folder], join(folder, "report"));
      console.log(`\nreport: ${report.html}\n        ${report.markdown}`);
      const shortfalls = [
        ...report.shortfalls,
        // All of them were started here.
        ...report.notRun.map((experiment) => `${experiment} left no evidence`),
      ];
      for (const shortfall of shortfalls) console.log(`fell short: ${shortfall}`);
      if (failed > 0 || shortfalls.length > 0) return 1;
      console.log("nothing fell short");
      return 0;
    });
  },
};
