import { Evidence, ranShort, readRun, validated } from "@lab/evidence/evidence";
import { repoFolder } from "@lab/evidence/folders";
import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import { join, posix } from "node:path";
import { chartFile } from "../render/chart.ts";
import { picturesOf } from "../text/picture.ts";
import { composePart, inOrder, type Layout, pageOf } from "../render/compose.ts";
import { models } from "@lab/evidence/experiments";
import { toMarkdown } from "../render/markdown.ts";
import { fillBlocks, type Published, staleBlocks } from "./readme.ts";
import { redact, tracesOfThisMachine } from "./redact.ts";
import { chartName, writeReports } from "../render/report.ts";

/**
 * The published report's folder. It links to the charts and evidence in the parts' results folders,
 * without copies.
 */
const reportFolder = "packages/report/published";

/** The READMEs whose figures come from the results. */
const readmes = ["README.md", ...models.map(({ model }) => `${model}/README.md`)];

/**
 * Publishes a run: the evidence of each successful experiment goes to
 * `<model>/results/<experiment>.json`, redacted; for an experiment that is missing in the run, or
 * failed, the published evidence is kept. Without a run only the generated files are written again,
 * after a change of the report's texts. All published evidence gives `<model>/results/results.md`
 * and `charts/*.svg`, the whole report in `packages/report/published/`, and the blocks in the
 * READMEs. Returns the written files, and the omitted experiments with the reason. Throws when the
 * run can't be read or has no evidence, as an interrupted one, and when a README has a block of
 * unknown name.
 */
export async function publish(
  runFolder: string | undefined,
  root: string = repoFolder,
): Promise<{ written: string[]; leftOut: string[] }> {
  const run = runFolder === undefined ? [] : (await readRun(runFolder)).evidence;
  if (runFolder !== undefined && run.length === 0) {
    throw new Error(`there is nothing to publish: no experiment left evidence in ${runFolder}`);
  }
  const published = run.filter((one) => whyNot(one) === undefined);
  const leftOut = run
    .filter((one) => whyNot(one) !== undefined)
    .map((one) => `${one.model}/${one.experiment} ${whyNot(one)}`);
  const traces = tracesOfThisMachine();
  const written: string[] = [];
  const write = async (file: string, text: string): Promise<void> => {
    await Bun.write(join(root, file), text);
    written.push(file);
  };

  for (const one of published) {
    await write(evidenceFile(one), `${JSON.stringify(redact(one, traces), null, 2)}\n`);
  }
  const evidence = await readPublished(root);
  for (const { model } of models) {
    const part = evidence.filter((one) => one.model === model);
    if (part.length === 0) continue;
    const results = `${model}/results`;
    await rm(join(root, results, "charts"), { recursive: true, force: true });
    for (const one of part) {
      for (const picture of picturesOf(one)) {
        await write(chartPath(one, picture.id), chartFile(picture));
      }
    }
    const blocks = composePart(model, part, layoutFrom(results));
    await write(`${results}/results.md`, `# Results\n\n${toMarkdown(blocks)}`);
  }
  await writeReports(join(root, reportFolder), evidence, layoutFrom(reportFolder));
  const pages = new Set(["report", ...evidence.map(pageOf)]);
  written.push(
    ...[...pages].flatMap((page) => [`${reportFolder}/${page}.md`, `${reportFolder}/${page}.html`]),
  );
  await format(root, written);

  for (const readme of readmes) {
    const file = Bun.file(join(root, readme));
    if (!(await file.exists())) continue;
    const text = await file.text();
    const filled = fillBlocks(text, publishedFrom(readme, evidence));
    if (filled !== text) await write(readme, filled);
  }
  return { written, leftOut };
}

/** Why evidence isn't published, if it isn't. */
function whyNot(one: Evidence): string | undefined {
  if (!one.held) return "did not hold";
  return ranShort(one) ? "ran at short length" : undefined;
}

/**
 * The blocks of the READMEs that don't match the published results, a line each: "README.md:
 * results:latency …". Empty when all match. Throws when a published result can't be read.
 */
export async function checkPublished(root: string = repoFolder): Promise<string[]> {
  const evidence = await readPublished(root);
  const problems: string[] = [];
  for (const readme of readmes) {
    const file = Bun.file(join(root, readme));
    if (!(await file.exists())) continue;
    try {
      const stale = staleBlocks(await file.text(), publishedFrom(readme, evidence));
      problems.push(
        ...stale.map(
          (name) =>
            `${readme}: results:${name} isn't what the published results give; run scripts/lab publish --again`,
        ),
      );
    } catch (error) {
      problems.push(`${readme}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return problems;
}

/** The published evidence of all models, in the report's order. */
async function readPublished(root: string): Promise<Evidence[]> {
  const evidence: Evidence[] = [];
  for (const { model } of models) {
    const folder = join(root, model, "results");
    if (!existsSync(folder)) continue;
    for (const name of await readdir(folder)) {
      if (!name.endsWith(".json")) continue;
      const file = join(folder, name);
      evidence.push(validated(file, Evidence, await Bun.file(file).json()));
    }
  }
  return inOrder(evidence);
}

function evidenceFile(one: Evidence): string {
  return `${one.model}/results/${one.experiment}.json`;
}

function chartPath(one: Evidence, pictureId: string): string {
  return `${one.model}/results/charts/${chartName(one, pictureId)}`;
}

/** Links to the results from a document in that folder of the repository. */
function layoutFrom(folder: string): Layout {
  return {
    chart: (one, id) => posix.relative(folder, chartPath(one, id)),
    evidence: (one) => posix.relative(folder, evidenceFile(one)),
  };
}

function publishedFrom(readme: string, evidence: Evidence[]): Published {
  const folder = posix.dirname(readme);
  return {
    evidence,
    report: posix.relative(folder, `${reportFolder}/report.md`),
    chart: layoutFrom(folder).chart,
  };
}

/** Formats the written files like the rest of the repository, so that `verify` accepts them. */
async function format(root: string, files: string[]): Promise<void> {
  const formatted = files.filter((file) => /\.(json|md|html)$/.test(file));
  await using bun = Bun.spawn([process.execPath, "fmt", ...formatted], {
    cwd: root,
    stdout: "ignore",
    stderr: "pipe",
  });
  const stderr = await bun.stderr.text();
  if ((await bun.exited) !== 0) throw new Error(`bun fmt failed:\n${stderr}`);
}
