import { type Evidence, ranShort, readRun, type RunInfo } from "@lab/evidence/evidence";
import { labFolder, repoFolder } from "@lab/evidence/folders";
import { git } from "@lab/evidence/run-folder";
import { printPdf, withPage } from "@lab/lab/machine/chromium";
import { findTool, whatToType } from "@lab/lab/machine/doctor";
import { handinFiles } from "@lab/report/handin/files";
import { type Entry, indexPage } from "@lab/report/handin/index-page";
import { screenshotPages } from "@lab/report/handin/screenshots";
import { findNotRun, isReported } from "@lab/report/render/compose";
import { writeReport } from "@lab/report/render/report";
import { zipSync } from "fflate";
import { mkdir, readdir, rm } from "node:fs/promises";
import { basename, join, resolve } from "node:path";
import { type Command, UsageError } from "../command.ts";
import { AUTHOR_OPTIONS, authorOf } from "../run/author.ts";
import { completeRun, namedRun } from "../run/runs.ts";
import { say } from "../say.ts";

/** Pictures of RabbitMQ's management page, each with the experiment that takes it while it runs. */
const MANAGEMENT_PAGES = [
  { name: "rabbitmq-ui", experiment: "poison-message", answers: "B6, D4" },
  { name: "dlq-rabbitmq", experiment: "poison-message", answers: "B6" },
  { name: "backlog-drain-rabbitmq", experiment: "backlog-drain", answers: "B4, D4" },
];

export const command: Command = {
  summary: "put together what the assignment asks for: a folder and a zip",
  usage: "[RUN] [--name NAME] [--team TEAM]",
  details: `RUN is a folder, or its name in .lab/runs; without it, the newest run that has every experiment.
Report, latency tables, backlog log, idempotency, dead letters, metrics, lag; as PDF and with
screenshots where there is a Chromium. It goes into .lab/handin.`,
  options: AUTHOR_OPTIONS,
  async run({ options, words }) {
    if (words.length > 1) throw new UsageError("one run at a time");
    const [word] = words;
    const run = word === undefined ? await completeRun() : namedRun(word);
    const folder = join(labFolder, "handin", basename(resolve(run)));
    await rm(folder, { recursive: true, force: true });
    const { info, evidence } = await readRun(run);
    const experiments = evidence.filter(isReported);
    const author = authorOf(options);
    const report = await writeReport([run], folder, author);
    const { files, missing } = handinFiles(experiments);
    for (const { path, text } of files) await Bun.write(join(folder, path), text);
    const pictures = await takePictures(run, folder, report.html, experiments);
    const sources = archiveSources(folder);
    const leftOut = [
      ...sources.leftOut,
      ...experiments
        .filter(ranShort)
        .map(({ experiment }) => `${experiment} at full length: it ran short; scripts/lab runs it`),
      ...findNotRun(evidence).map((name) => `${name} was not run`),
      ...missing,
      ...pictures.leftOut,
    ];
    const entries: Entry[] = [
      { path: "report.html", title: "Everything, with charts and reasoning", answers: "all" },
      { path: "report.md", title: "The same as text", answers: "all" },
      ...files,
      ...pictures.entries,
      ...sources.entries,
      { path: "evidence", title: "What each experiment recorded, as JSON", answers: "all" },
    ];
    await writeIndex(folder, info, experiments, { author, entries, leftOut });
    const zip = `${folder}.zip`;
    await Bun.write(zip, zipSync(await contents(folder), { level: 9 }));
    console.log(`${folder}\n${zip}`);
    for (const why of leftOut) say(`left out: ${why}`);
    return 0;
  },
};

/** Everything that git tracks, as it is now; what can't be made, with the reason. */
function archiveSources(folder: string): { entries: Entry[]; leftOut: string[] } {
  const path = "sources.zip";
  // A commit of what is changed, that belongs to no branch; empty where nothing is. It needs an author.
  const author = ["-c", "user.name=lab", "-c", "user.email=lab@localhost"];
  const changed = git(repoFolder, ...author, "stash", "create");
  const output = `--output=${join(folder, path)}`;
  const made = git(repoFolder, "archive", "--format=zip", output, changed || "HEAD");
  if (changed === undefined || made === undefined) {
    return { entries: [], leftOut: [`${path}: git can't archive this clone`] };
  }
  const unknown = git(repoFolder, "ls-files", "--others", "--exclude-standard")?.split("\n") ?? [];
  return {
    entries: [{ path, title: "The sources as git has them, with changes", answers: "all" }],
    leftOut: unknown.filter(Boolean).map((file) => `${file} in ${path}: git add makes it known`),
  };
}

async function writeIndex(
  folder: string,
  info: RunInfo,
  evidence: Evidence[],
  more: Parameters<typeof indexPage>[2],
): Promise<void> {
  await Bun.write(join(folder, "README.md"), indexPage(info, evidence, more));
}

/** The report as PDF, and the screenshots; what can't be made, with the reason. */
async function takePictures(
  run: string,
  folder: string,
  html: string,
  evidence: Evidence[],
): Promise<{ entries: Entry[]; leftOut: string[] }> {
  const entries: Entry[] = [];
  const leftOut: string[] = [];
  if (findTool("chromium") === undefined) {
    leftOut.push(
      `report.pdf and the screenshots of the report's pages; ${whatToType(["chromium"])}`,
    );
  } else {
    await printPdf(html, join(folder, "report.pdf"));
    entries.push({ path: "report.pdf", title: "The report on paper", answers: "all" });
    const pages = screenshotPages(evidence);
    await shoot(pages, join(folder, "screenshots"));
    entries.push(...pages.map(({ answers, name }) => screenshot(name, answers)));
  }
  for (const { answers, experiment, name } of MANAGEMENT_PAGES) {
    const picture = Bun.file(join(run, "async-rabbitmq", `${experiment}.${name}.png`));
    const entry = screenshot(name, answers);
    if (await picture.exists()) {
      await Bun.write(join(folder, entry.path), picture);
      entries.push(entry);
    } else {
      leftOut.push(
        `${entry.path}: ${experiment} takes it while it runs at full length, where there is a Chromium`,
      );
    }
  }
  return { entries, leftOut };
}

function screenshot(name: string, answers: string): Entry {
  return { path: `screenshots/${name}.png`, title: `Screenshot: ${name}`, answers };
}

const UNCUT = `
.scrolling { overflow: visible; }
pre { max-height: none; white-space: pre-wrap; overflow-wrap: anywhere; }`;

/** Where all tables are folded and there is no chart, the first is what the page is about. */
const OPEN_ONE = `
if (document.querySelector("main svg, main table:not(details table)") === null) {
  document.querySelector("main details:has(table)").open = true;
}`;

/** Each page to be read at a glance: what is folded stays so, and nothing is cut off at the side. */
async function shoot(pages: { name: string; html: string }[], folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await withPage(async (page) => {
    for (const { html, name } of pages) {
      await page.setContent(html);
      await page.addStyleTag({ content: UNCUT });
      await page.evaluate(OPEN_ONE);
      const width = Number(await page.evaluate("document.documentElement.scrollWidth"));
      await page.setViewportSize({ width, height: 720 });
      await page.screenshot({ path: join(folder, `${name}.png`), fullPage: true });
    }
  });
}

async function contents(folder: string): Promise<Record<string, Uint8Array>> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = found.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name));
  const read = files.map(async (path): Promise<[string, Uint8Array]> => [
    join(basename(folder), path.slice(folder.length + 1)),
    await Bun.file(path).bytes(),
  ]);
  return Object.fromEntries(await Promise.all(read));
}
