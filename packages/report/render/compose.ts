import type { Check, Evidence, Model } from "@lab/evidence/evidence";
import { conclusion, conclusionReasons, glancePanels } from "../text/at-a-glance.ts";
import { comparisonTable } from "../text/comparison.ts";
import { type Block, type ShownTable, showTable, slug } from "../text/document.ts";
import { benchmarks, experiments, models, proofs, requirements } from "@lab/evidence/experiments";
import type { ExperimentName } from "@lab/evidence/figures";
import { Figures, NOT_RUN } from "../text/figure-reader.ts";
import { escapeMarkdown, formatDuration, formatFigure, formatScalar } from "../text/format.ts";
import { headlines } from "../text/headlines.ts";
import { numbersTable } from "../text/numbers.ts";
import { type Picture, picturesOf } from "../text/picture.ts";
import {
  reasonAboutMessages,
  reasonAboutReplay,
  reasonAboutRest,
  understanding,
} from "../text/reasoning.ts";

/** The paths of a report's charts and evidence, relative to the report. */
export interface Layout {
  chart: (evidence: Evidence, pictureId: string) => string;
  evidence: (evidence: Evidence) => string;
}

const reasoning: Record<Model, (figures: Figures) => Block[]> = {
  "sync-rest": reasonAboutRest,
  "async-rabbitmq": reasonAboutMessages,
  "streaming-kafka": reasonAboutReplay,
};

/**
 * An excerpt longer than this is truncated in the report, with a note; the evidence has all of it.
 */
const excerptLimit = 8_000;

/** The page that shows the evidence. */
export function pageOf({ experiment }: Evidence): "report" | "proof" | "speed" {
  if (Object.hasOwn(proofs, experiment)) return "proof";
  return Object.hasOwn(benchmarks, experiment) ? "speed" : "report";
}

/** Whether the evidence belongs into the report itself, and not on a page of its own. */
export function isReported(one: Evidence): boolean {
  return pageOf(one) === "report";
}

/** The evidence in the report's order, experiments, proofs, benchmarks; unknown experiments come last in their model. */
export function inOrder(evidence: Evidence[]): Evidence[] {
  const names = [experiments, proofs, benchmarks].flatMap(Object.keys);
  const modelNames = models.map(({ model }) => model);
  const rank = (one: Evidence): number => {
    const at = names.indexOf(one.experiment);
    return modelNames.indexOf(one.model) * 1_000 + (at === -1 ? names.length : at);
  };
  return evidence.toSorted((a, b) => rank(a) - rank(b));
}

/**
 * What a reader has to know before trusting the report, a line each; empty when there is nothing.
 */
export function findShortfalls(evidence: Evidence[]): string[] {
  const failed = evidence
    .filter(({ held }) => !held)
    .map(({ model, experiment, checks, failure }) => {
      const fallen = checks.filter((check) => !check.held);
      const reasons = fallen.map(
        (check) => `${check.label}: expected ${json(check.expected)}, got ${json(check.actual)}`,
      );
      // Bun's matcher error repeats the failed check over many lines: shown only when no check
      // explains the failure.
      if (reasons.length === 0) reasons.push(firstLine(failure ?? "no reason"));
      return `${model}/${experiment} did not hold: ${reasons.join("; ")}`;
    });
  return [...failed, ...new Figures(evidence).missing()];
}

/** The experiments that aren't among the evidence: `replay`. */
export function findNotRun(evidence: Evidence[]): string[] {
  const ran = new Set(evidence.map(({ experiment }) => experiment));
  return Object.keys(experiments).filter((experiment) => !ran.has(experiment));
}

/** The whole report as blocks, without the proofs and the benchmarks. */
export function composeReport(evidence: Evidence[], layout: Layout): Block[] {
  const ordered = inOrder(evidence).filter(isReported);
  const figures = new Figures(ordered);
  const shortfalls = findShortfalls(inOrder(evidence));
  const panels = glancePanels(ordered, figures, layout.chart);
  return withoutNotRun([
    heading(2, "at-a-glance", "The same order, while Inventory is away or too slow"),
    ...shortfallBlocks(shortfalls),
    ...(panels.length > 0 ? [{ kind: "panels", panels } as const] : []),
    paragraph(conclusion(figures)),
    ...notRunBlocks(findNotRun(evidence)),
    { kind: "table", table: summaryTable(ordered, figures, "") },
    ...(evidence.some((one) => pageOf(one) === "proof")
      ? [
          paragraph(
            "That nothing is lost and nothing doubled, under SIGKILL at every point and in a storm of faults, has a page of its own: [proof.html](proof.html), [proof.md](proof.md).",
          ),
        ]
      : []),
    ...models.flatMap(({ model }) => composeModel(model, ordered, figures, layout)),
    heading(2, "comparison", "D5: the three models compared"),
    paragraph(conclusion(figures)),
    ...conclusionReasons(figures).map(paragraph),
    { kind: "table", table: comparisonTable(figures) },
    heading(2, "requirements", "Where each line of the assignment is answered"),
    { kind: "table", table: requirementsTable(evidence, { report: "", proof: "proof.md" }) },
    heading(2, "setting", "What was run, and on what"),
    ...settingBlocks(ordered),
    ...understanding(figures),
  ]);
}

/**
 * Without the texts about experiments that weren't run, and without headings that are then empty.
 */
function withoutNotRun(blocks: Block[]): Block[] {
  return blocks.reduceRight<Block[]>((told, block) => {
    const [next] = told;
    const isEmpty =
      block.kind === "heading"
        ? next === undefined || (next.kind === "heading" && next.level <= block.level)
        : block.kind === "paragraph" && block.text === NOT_RUN;
    return isEmpty ? told : [block, ...told];
  }, []);
}

/** The part of the report that one model's results folder holds. */
export function composePart(model: Model, evidence: Evidence[], layout: Layout): Block[] {
  const ordered = inOrder(evidence).filter(isReported);
  return withoutNotRun(composeModel(model, ordered, new Figures(ordered), layout));
}

/** One line for each experiment: question, whether it held, what was measured. `report` is the link to the report. */
export function summaryTable(evidence: Evidence[], figures: Figures, report: string): ShownTable {
  return {
    title: "Every experiment",
    columns: ["Experiment", "Question", "Result", "Measured"].map((name) => ({
      name,
      numeric: false,
    })),
    rows: inOrder(evidence)
      .filter(isReported)
      .map((one) => [
        `[${one.experiment}](${report}#${anchorOf(one)})`,
        escapeMarkdown(one.question),
        one.held ? "held" : "**not held**",
        isKnown(one.experiment) ? headlines[one.experiment](figures) : "–",
      ]),
  };
}

/** A line for each line of the assignment, with links to what answers it. `report` and `proof` are the links to the pages. */
export function requirementsTable(
  evidence: Evidence[],
  { report, proof }: { report: string; proof: string },
): ShownTable {
  return {
    title: "The assignment's lines",
    columns: ["Line", "What it asks for", "Answered in"].map((name) => ({
      name,
      numeric: false,
    })),
    rows: requirements.map(({ id, text, sections = [], elsewhere }) => {
      // A model of which nothing ran has no section.
      const ofModel = models.find(({ part }) => id.startsWith(part))?.model;
      const hasSections = !ofModel || evidence.some(({ model }) => model === ofModel);
      const answers = [
        ...(elsewhere ? [elsewhere] : []),
        ...inOrder(evidence)
          .filter((one) => one.requirements.includes(id))
          .map(
            (one) =>
              `[${one.experiment}](${pageOf(one) === "proof" ? proof : report}#${anchorOf(one)})`,
          ),
        ...(hasSections ? sections : []).map(
          ([anchor, title]) => `[${title}](${report}#${anchor})`,
        ),
      ];
      return [id, text, answers.join(", ") || NOT_RUN];
    }),
  };
}

/** The figures that an experiment left, by name. */
export function figuresTable(one: Evidence): ShownTable {
  return {
    title: `Figures of ${one.experiment}`,
    columns: [
      { name: "Figure", numeric: false },
      { name: "Value", numeric: true },
    ],
    rows: Object.entries(one.figures).map(([name, value]) => [
      `\`${name}\``,
      formatFigure(name, value),
    ]),
  };
}

/** Machine, versions and brokers of the evidence; more than one row when they differ. */
function settingTable(evidence: Evidence[]): ShownTable {
  const settings = Map.groupBy(evidence, ({ machine, brokers }) =>
    JSON.stringify([machine, brokers]),
  );
  return {
    title: "Machine",
    columns: ["Experiments", "Processor", "Cores", "Memory", "System", "Brokers"].map((name) => ({
      name,
      numeric: false,
    })),
    rows: [...settings.values()].flatMap((group) => {
      const [first] = group;
      if (!first) return [];
      const { cpu, cores, memory_gib, os } = first.machine;
      return [
        [
          settings.size === 1
            ? `all ${group.length}`
            : group.length > MOST_LINES
              ? `${group.length} of ${evidence.length}`
              : [...new Set(group.map(({ experiment }) => experiment))].join(", "),
          escapeMarkdown(cpu),
          String(cores),
          `${formatScalar(memory_gib)} GiB`,
          escapeMarkdown(os),
          escapeMarkdown(first.brokers),
        ],
      ];
    }),
  };
}

/** What was run, when, and on what. */
export function settingBlocks(evidence: Evidence[]): Block[] {
  const [first] = evidence;
  if (!first) return [paragraph("No experiment left any evidence.")];
  const starts = evidence.map(({ started_at }) => started_at).sort();
  const ends = evidence.map(
    ({ duration_s, started_at }) => new Date(Date.parse(started_at) + duration_s * 1_000),
  );
  const end = ends.toSorted((a, b) => Number(b) - Number(a))[0]!.toISOString();
  const total = evidence.reduce((sum, one) => sum + one.duration_s, 0);
  const versions = new Map<string, Set<string>>();
  for (const one of evidence) {
    for (const [name, version] of Object.entries(one.versions)) {
      versions.set(name, (versions.get(name) ?? new Set()).add(version));
    }
  }
  return [
    paragraph(
      `The same campus order, three times: as synchronous calls between three services, as messages over RabbitMQ, as a stream in Kafka. ${evidence.length === 1 ? "One experiment" : `${evidence.length} experiments`} on real processes and real brokers, ${formatDuration(total)} in all, from ${minute(starts[0])} to ${minute(end)}. Faults were injected while they ran; each experiment says beforehand what would disprove it. Services and load ran on one machine and talked over its loopback.`,
    ),
    { kind: "table", table: settingTable(evidence) },
    paragraph(
      `Versions: ${[...versions]
        .map(
          ([name, found]) =>
            `${escapeMarkdown(name)} ${[...found].map(escapeMarkdown).join(" / ")}`,
        )
        .join(", ")}.`,
    ),
  ];
}

function notRunBlocks(names: string[]): Block[] {
  if (names.length === 0) return [];
  return [
    paragraph(
      `Not part of this report, since not run: ${names.join(", ")}. \`scripts/lab run --into RUN NAME\` adds one to a run, \`scripts/lab report RUN RUN\` puts runs together.`,
    ),
  ];
}

function shortfallBlocks(shortfalls: string[]): Block[] {
  if (shortfalls.length === 0) return [];
  return [
    heading(2, "shortfalls", "What fell short"),
    { kind: "list", items: shortfalls.map(escapeMarkdown) },
  ];
}

function composeModel(
  model: Model,
  ordered: Evidence[],
  figures: Figures,
  layout: Layout,
): Block[] {
  const { part, title } = models.find((one) => one.model === model) ?? {
    part: "",
    title: model,
  };
  if (!ordered.some((one) => one.model === model)) return [];
  return [
    heading(2, model, `${part}. ${title}`),
    ...reasoning[model](figures),
    ...ordered
      .filter((one) => one.model === model)
      .flatMap((one) => composeExperiment(one, layout)),
  ];
}

/** A table or an excerpt of more lines is folded. */
const MOST_LINES = 12;

/** One experiment with all its evidence; under its own name unless `title` gives another. */
export function composeExperiment(one: Evidence, layout: Layout, title = one.experiment): Block[] {
  const verdict =
    `${one.checks.length === 0 ? "Nothing to check" : checksHeld(one.checks)}, in ${formatDuration(one.duration_s)}.` +
    (one.failure ? ` ${escapeMarkdown(firstLine(one.failure))}` : "");
  return [
    heading(3, anchorOf(one), title),
    paragraph(`**Question.** ${escapeMarkdown(one.question)}`),
    { kind: "verdict", held: one.held, text: verdict },
    ...picturesOf(one).flatMap((picture) => chartBlocks(one, picture, layout)),
    fold("Method, and what would disprove it", methodBlocks(one, layout)),
    ...one.tables.map((table): Block => {
      const { rows, title: name } = table;
      const block: Block = { kind: "table", table: showTable(table) };
      return rows.length > MOST_LINES ? fold(`${name} (${rows.length} rows)`, [block]) : block;
    }),
    ...one.excerpts.map(({ text, title: name }): Block => {
      const lines = text.trimEnd().split("\n").length;
      const block: Block = {
        kind: "preformatted",
        title: escapeMarkdown(name),
        text: shorten(text),
      };
      return lines > MOST_LINES ? fold(`${name} (${lines} lines)`, [block]) : block;
    }),
    ...checksBlocks(one.checks),
  ];
}

/** A chart; of lines the numbers, too. */
function chartBlocks(one: Evidence, picture: Picture, layout: Layout): Block[] {
  const { id, plot } = picture;
  const chart: Block = {
    kind: "chart",
    picture,
    id: `chart-${anchorOf(one)}-${slug(id)}`,
    file: layout.chart(one, id),
  };
  if (plot.kind !== "lines" || plot.series.lines.length === 0) return [chart];
  const table: Block = { kind: "table", table: numbersTable(plot.series) };
  return [chart, { kind: "fold", title: "The chart's numbers", blocks: [table], screenOnly: true }];
}

function methodBlocks(one: Evidence, layout: Layout): Block[] {
  // A seed names a sequence and is no amount: it has no thousands separators.
  const parameters = Object.entries({ ...one.parameters, seed: String(one.seed) }).map(
    ([name, value]) => `\`${name}\` ${escapeMarkdown(formatScalar(value))}`,
  );
  const answers = one.requirements.length > 0 ? `**Answers** ${one.requirements.join(", ")}. ` : "";
  return [
    paragraph(`**Method.** ${escapeMarkdown(one.method)}`),
    paragraph(`**What would disprove it.** ${escapeMarkdown(one.disproof)}`),
    paragraph(
      `${answers}**Parameters:** ${parameters.join(" · ")}. [Raw evidence](${layout.evidence(one)}) (JSON).`,
    ),
  ];
}

/** Folded where all of them held. */
function checksBlocks(checks: Check[]): Block[] {
  if (checks.length === 0) return [];
  const table: Block = { kind: "table", table: checksTable(checks) };
  return [checks.every(({ held }) => held) ? fold(checksHeld(checks), [table]) : table];
}

/** "12 of 12 checks held" */
function checksHeld(checks: Check[]): string {
  return `${checks.filter(({ held }) => held).length} of ${checks.length} checks held`;
}

function checksTable(checks: Check[]): ShownTable {
  return {
    title: "Checks",
    columns: ["Check", "Result", "Expected", "Found"].map((name) => ({
      name,
      numeric: false,
    })),
    rows: checks.map(({ label, held, expected, actual }) => [
      escapeMarkdown(label),
      held ? "held" : "**not held**",
      code(expected, held),
      held && Bun.deepEquals(expected, actual) ? "the same" : code(actual, held),
    ]),
  };
}

/** A checked value as code; one that held is truncated sooner than one that didn't. */
function code(value: unknown, held: boolean): string {
  if (held && Array.isArray(value) && value.length > MOST_LINES) {
    return `${formatScalar(value.length)} values, \`${json(value.slice(0, 3)).slice(0, -1)}, …]\``;
  }
  const text = json(value).replaceAll("`", "'");
  const limit = held ? 160 : 800;
  return `\`${text.length > limit ? `${text.slice(0, limit)} …` : text}\``;
}

function json(value: unknown): string {
  return value === undefined ? "nothing" : JSON.stringify(value);
}

function shorten(text: string): string {
  if (text.length <= excerptLimit) return text;
  return `${text.slice(0, excerptLimit)}\n… ${text.length - excerptLimit} more characters in the raw evidence`;
}

function anchorOf(one: Evidence): string {
  return slug(`${one.model}-${one.experiment}`);
}

function isKnown(experiment: string): experiment is ExperimentName {
  return experiment in experiments;
}

function firstLine(text: string): string {
  return text.trim().split("\n", 1)[0] ?? "";
}

/** "2026-11-21 01:34 UTC" of an ISO time. */
function minute(time = ""): string {
  return `${time.slice(0, 16).replace("T", " ")} UTC`;
}

function heading(level: 2 | 3 | 4, id: string, text: string): Block {
  return { kind: "heading", level, id, text };
}

function fold(title: string, blocks: Block[]): Block {
  return { kind: "fold", title, blocks };
}

function paragraph(text: string): Block {
  return { kind: "paragraph", text };
}
