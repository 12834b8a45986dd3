import { type Evidence, readRun } from "@lab/evidence/evidence";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { chartFile } from "./chart.ts";
import { picturesOf } from "../text/picture.ts";
import { composeReport, findNotRun, findShortfalls, type Layout, pageOf } from "./compose.ts";
import { type Block, slug } from "../text/document.ts";
import { escapeMarkdown } from "../text/format.ts";
import { toHtml } from "./html.ts";
import { toMarkdown } from "./markdown.ts";
import { composeProof } from "./proof.ts";
import { composeSpeed } from "./speed.ts";

/** The name of a chart's file among those of its model. */
export function chartName(evidence: Evidence, pictureId: string): string {
  return `${slug(evidence.experiment)}-${slug(pictureId)}.svg`;
}

/** The contents of a report, and what a reader has to know about it. */
export interface WrittenReport {
  markdown: string;
  html: string;
  /** Failed checks, and missing figures. */
  shortfalls: string[];
  /** Experiments that none of the runs has. */
  notRun: string[];
}

/**
 * Writes the report of a run, or of several put together, into a folder: report.md with
 * charts/*.svg, report.html (all in one file) and the evidence as it is. An experiment in several
 * runs is taken from the last of them. An earlier report in the folder is replaced. Throws when a
 * run has no readable evidence. `author` is named at the top, where given.
 */
export async function writeReport(
  runFolders: readonly string[],
  outFolder: string,
  author?: string,
): Promise<WrittenReport> {
  const found = new Map<string, { one: Evidence; file: string }>();
  for (const folder of runFolders) {
    for (const one of (await readRun(folder)).evidence) {
      const name = join(one.model, `${one.experiment}.json`);
      found.set(name, { one, file: join(folder, name) });
    }
  }
  const evidence = [...found.values()].map(({ one }) => one);
  const layout: Layout = {
    chart: (one, id) => `charts/${one.model}/${chartName(one, id)}`,
    evidence: (one) => `evidence/${one.model}/${one.experiment}.json`,
  };
  for (const part of ["charts", "evidence"]) {
    await rm(join(outFolder, part), { recursive: true, force: true });
  }
  for (const [name, { one, file }] of found) {
    await Bun.write(join(outFolder, "evidence", name), Bun.file(file));
    for (const picture of picturesOf(one)) {
      await Bun.write(join(outFolder, layout.chart(one, picture.id)), chartFile(picture));
    }
  }
  const reports = await writeReports(outFolder, evidence, layout, author);
  return { ...reports, shortfalls: findShortfalls(evidence), notRun: findNotRun(evidence) };
}

/** Writes report.md and report.html, the same of proof where there are proofs, and of speed where there are benchmarks; returns the report's two paths. */
export async function writeReports(
  outFolder: string,
  evidence: Evidence[],
  layout: Layout,
  author?: string,
): Promise<{ markdown: string; html: string }> {
  await mkdir(outFolder, { recursive: true });
  const by = author === undefined ? "" : ` Handed in by **${escapeMarkdown(author)}**.`;
  const write = async (name: string, title: string, about: string, blocks: Block[]) => {
    const lead = `${about}${by}`;
    const markdown = join(outFolder, `${name}.md`);
    const html = join(outFolder, `${name}.html`);
    await Bun.write(markdown, `# ${title}\n\n${lead}\n\n${toMarkdown(blocks)}`);
    await Bun.write(html, toHtml(title, lead, blocks));
    return { markdown, html };
  };
  const proofs = evidence.filter((one) => pageOf(one) === "proof");
  if (proofs.length > 0) {
    await write(
      "proof",
      "Proof",
      "Nothing lost, nothing doubled: every model killed at every point, cut off, filled up and overrun; one checker over all of it, and that checker tested by taking the protections away.",
      composeProof(proofs, layout),
    );
  }
  const speeds = evidence.filter((one) => pageOf(one) === "speed");
  if (speeds.length > 0) {
    await write(
      "speed",
      "Speed",
      "Each model beside what its transport gives at most on the same machine, in interleaved rounds of the same run.",
      composeSpeed(speeds, layout),
    );
  }
  return write(
    "report",
    "One campus order, three ways to talk",
    "What happens to a food order when a service is slow, dead or told the same thing twice: measured with synchronous REST, with RabbitMQ and with Kafka.",
    composeReport(evidence, layout),
  );
}
