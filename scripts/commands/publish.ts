import { repoFolder } from "@lab/evidence/folders";
import { publish } from "@lab/report/publish/publish";
import { withPage } from "@lab/lab/machine/chromium";
import { findTool } from "@lab/lab/machine/doctor";
import { join } from "node:path";
import { type Command, UsageError } from "../command.ts";
import { chosenRuns } from "../run/runs.ts";
import { say } from "../say.ts";

/** The report's first screen, with which the README opens. */
const PICTURE = "packages/report/published/report.png";

export const command: Command = {
  summary: "put a run's results into the repository: results/, the report, the READMEs",
  usage: "[RUN|--again]",
  details: `RUN is a folder, or its name in .lab/runs; without it, the newest run. What a README shows of it
stands between <!-- results:NAME --> and <!-- /results -->; packages/report/publish/readme.ts lists the names.`,
  options: {
    again: {
      type: "boolean",
      summary: "no run: make reports and READMEs anew, after their texts have changed",
    },
  },
  async run({ options, words }) {
    const again = options["again"] === true;
    if (again && words.length > 0) throw new UsageError("--again takes no run");
    if (words.length > 1) throw new UsageError("one run at a time");
    const [run] = again ? [] : await chosenRuns(words);
    const { leftOut, written } = await publish(run);
    for (const file of written) console.log(file);
    if (findTool("chromium") === undefined) say(`${PICTURE} stays as it was: no Chromium`);
    else await shootReport();
    for (const experiment of leftOut) {
      say(`left out, it didn't hold: ${experiment}`);
    }
    return leftOut.length === 0 ? 0 : 1;
  },
};

async function shootReport(): Promise<void> {
  await withPage(async (page) => {
    const html = join(repoFolder, PICTURE.replace(".png", ".html"));
    await page.goto(Bun.pathToFileURL(html).href);
    await page.setViewportSize({ width: 1_280, height: 760 });
    await page.screenshot({ path: join(repoFolder, PICTURE) });
  });
  console.log(PICTURE);
}
