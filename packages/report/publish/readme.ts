import type { Evidence } from "@lab/evidence/evidence";
import { promisesTable } from "../text/comparison.ts";
import { figuresTable, summaryTable } from "../render/compose.ts";
import { type ShownTable, showTable } from "../text/document.ts";
import { experiments, models } from "@lab/evidence/experiments";
import type { ExperimentName } from "@lab/evidence/figures";
import { Figures } from "../text/figure-reader.ts";
import { formatFigure } from "../text/format.ts";
import { chartToMarkdown, tableToMarkdown } from "../render/markdown.ts";
import { picturesOf } from "../text/picture.ts";
import { proofTotals } from "../render/proof.ts";

/** Published results, and their paths relative to a README's folder. */
export interface Published {
  evidence: Evidence[];
  /** Relative link to the report. */
  report: string;
  chart: (evidence: Evidence, pictureId: string) => string;
}

const block = /(<!-- results:(?<name>\S+) -->)(?<body>[^]*?)(<!-- \/results -->)/g;

/** The blocks that are part of a sentence. */
const inline = /^(figure\/|totals$)/;

/**
 * A README in which the text between `<!-- results:NAME -->` and `<!-- /results -->` is replaced. NAME is one of
 *
 * - `summary/<model>`: question, result and key figures of every experiment of a model
 * - `promises`: what each model promises
 * - `latency`: the latency tables of baseline-latency and slow-inventory
 * - `<experiment>` or `<model>/<experiment>`: all its figures
 * - `<model>/<experiment>/<table id>`: one table
 * - `<model>/<experiment>/chart/<chart id>`: one chart
 * - `figure/<experiment>/<figure>`: one figure, within a sentence (not at the start of a line)
 * - `totals`: what all proofs did and found, within a sentence as well
 *
 * An experiment is never a proof here, since most proofs have several models.
 *
 * Throws for a name that isn't one of these, and for an opening mark without a closing one.
 */
export function fillBlocks(readme: string, published: Published): string {
  const opened = readme.match(/<!-- results:/g)?.length ?? 0;
  const whole = readme.match(block)?.length ?? 0;
  if (opened !== whole) {
    throw new Error(
      `${opened} results blocks are opened, but ${whole} are complete: each ends with <!-- /results -->`,
    );
  }
  return readme.replace(block, (...found) => {
    const [, open, name, , close] = found as string[];
    const content = resultsFor(name ?? "", published);
    return inline.test(name ?? "")
      ? `${open}${content}${close}`
      : `${open}\n\n${content}\n\n${close}`;
  });
}

/** The names of the blocks whose content doesn't match the published results. Throws as `fillBlocks` does. */
export function staleBlocks(readme: string, published: Published): string[] {
  const bodies = (text: string): { name: string; body: string }[] =>
    [...text.matchAll(block)].map(({ groups }) => ({
      name: groups?.["name"] ?? "",
      body: normalized(groups?.["body"] ?? ""),
    }));
  const fresh = bodies(fillBlocks(readme, published));
  return bodies(readme)
    .filter(({ body }, i) => body !== fresh[i]?.body)
    .map(({ name }) => name);
}

const latencyExperiments = ["baseline-latency", "slow-inventory"];

/** A placeholder for results. */
const notYet = "_not published yet_";

/** The text without differences that a formatter may make: spaces, the rule of a table, the emphasis character. */
function normalized(body: string): string {
  return body
    .replace(/[ \t]+/g, " ")
    .replace(/-{3,}/g, "---")
    .trim();
}

function resultsFor(name: string, published: Published): string {
  const { evidence, report } = published;
  const figures = new Figures(evidence);
  const path = name.split("/");
  const [first = "", second = ""] = path;
  const ofModel = evidence.filter(({ model }) => model === second);
  if (name === "totals") return proofTotals(evidence) ?? notYet;
  const tables: Record<string, () => ShownTable> = {
    ...Object.fromEntries(
      models.map(({ model }) => [`summary/${model}`, () => summaryTable(ofModel, figures, report)]),
    ),
    promises: () => promisesTable(),
    latency: () => latencyTable(evidence),
  };
  const table = tables[name]?.();
  if (table) return table.rows.length > 0 ? tableToMarkdown(table) : notYet;

  const namesModel = models.some(({ model }) => model === first);
  const [experiment = "", ...parts] = namesModel || first === "figure" ? path.slice(1) : path;
  const known = Object.hasOwn(experiments, experiment);
  if (!known || (namesModel && experiments[experiment as ExperimentName] !== first)) {
    throw new Error(`<!-- results:${name} --> names nothing that the lab publishes`);
  }
  const found = evidence.find((one) => one.experiment === experiment);
  if (!found) return notYet;
  const [part, id] = parts;
  if (first === "figure") return figureOf(found, part);
  if (part === undefined) return tableToMarkdown(figuresTable(found));
  if (part !== "chart") return tableOf(found, part);
  const pictures = picturesOf(found);
  const picture = pictures.find((one) => one.id === id);
  if (!picture) throw unknown("chart", id, pictures);
  return chartToMarkdown(picture, published.chart(found, picture.id));
}

/** The latency tables of baseline-latency and slow-inventory, one under the other. */
function latencyTable(evidence: Evidence[]): ShownTable {
  const tables = evidence
    .filter(({ experiment }) => latencyExperiments.includes(experiment))
    .flatMap(({ tables }) => tables.filter(({ id }) => id === "latency"));
  const [first] = tables;
  if (!first) return { title: "", columns: [], rows: [] };
  const heads = tables.map(({ columns }) => JSON.stringify(columns));
  if (new Set(heads).size > 1) {
    throw new Error(`the latency tables differ in their columns: ${heads.join(" and ")}`);
  }
  const rows = tables.flatMap((table) => table.rows);
  return showTable({ ...first, rows });
}

function figureOf(found: Evidence, figure = ""): string {
  const value = found.figures[figure];
  if (value !== undefined) return formatFigure(figure, value);
  const known = Object.keys(found.figures).map((id) => ({ id }));
  throw unknown("figure", figure, known);
}

function tableOf(one: Evidence, id: string): string {
  const table = one.tables.find((candidate) => candidate.id === id);
  if (!table) throw unknown("table", id, one.tables);
  const { note, ...shown } = showTable(table);
  return [tableToMarkdown(shown), ...(note ? [note] : [])].join("\n\n");
}

function unknown(kind: string, id = "", known: { id: string }[]): Error {
  return new Error(
    `no ${kind} "${id}" in the published results; there is: ${known.map((one) => one.id).join(", ") || "none"}`,
  );
}
