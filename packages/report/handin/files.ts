import type { Evidence, Excerpt, Scalar, Table } from "@lab/evidence/evidence";
import type { ExperimentName } from "@lab/evidence/figures";
import { toMarkdown } from "../render/markdown.ts";
import { type Block, showTable } from "../text/document.ts";
import { Figures } from "../text/figure-reader.ts";
import { explainIdempotency } from "../text/reasoning.ts";
import { backlogLog } from "./backlog-log.ts";

/** A file of the hand-in folder. */
export interface HandinFile {
  path: string;
  /** What it shows. */
  title: string;
  /** The lines of the assignment that it answers. */
  answers: string;
  text: string;
}

/** A file that one experiment's evidence gives; undefined where the evidence lacks what it needs. */
interface Recipe extends Omit<HandinFile, "text"> {
  experiment: ExperimentName;
  text: (one: Evidence, all: Evidence[]) => string | undefined;
}

const recipes: Recipe[] = [
  {
    path: "sync-rest/latency.md",
    title: "Latency tables of every experiment",
    answers: "A2, A3, A4",
    experiment: "baseline-latency",
    text: (_, all) => markdown("Latency tables", latencyTables(all).map(tableBlock)),
  },
  {
    path: "sync-rest/latency.csv",
    title: "The same, for a spreadsheet",
    answers: "A2, A3, A4",
    experiment: "baseline-latency",
    text: (_, all) => latencyCsv(all),
  },
  {
    path: "async-rabbitmq/backlog-recovery.log",
    title: "The backlog grows, drains and is accounted for",
    answers: "B4",
    experiment: "backlog-drain",
    text: backlogLog,
  },
  {
    path: "async-rabbitmq/idempotency.md",
    title: "The same event twice reserves once: the strategy, stock before and after",
    answers: "B5",
    experiment: "duplicate-delivery",
    text: (one, all) =>
      markdown("Idempotency", [
        ...explainIdempotency(new Figures(all)),
        ...one.tables.map(tableBlock),
        ...one.excerpts.map(excerptBlock),
      ]),
  },
  {
    path: "async-rabbitmq/dead-letters.md",
    title: "Dead letters with their reasons, and the orders around them",
    answers: "B6",
    experiment: "poison-message",
    text: (one) =>
      markdown("Dead letters", [...one.tables.map(tableBlock), ...one.excerpts.map(excerptBlock)]),
  },
  {
    path: "streaming-kafka/metrics.json",
    title: "What Analytics computed of 10,000 orders",
    answers: "C1, C2",
    experiment: "ten-thousand-events",
    text: metricsOf,
  },
  ...(["before", "at the reset", "after"] as const).map((when): Recipe => ({
    path: `streaming-kafka/metrics-${when.replaceAll(" ", "-")}.json`,
    title: `The metrics ${when === "at the reset" ? when : `${when} the replay`}`,
    answers: "C4",
    experiment: "replay",
    text: (one) => json(columnOf(one, when)),
  })),
  {
    path: "streaming-kafka/metrics.diff",
    title: "Their difference: + and - where a metric changed",
    answers: "C4",
    experiment: "replay",
    text: metricsDiff,
  },
  {
    path: "streaming-kafka/lag.md",
    title: "Lag per partition at the peak and at the end, as kafka-consumer-groups prints it",
    answers: "C3",
    experiment: "consumer-lag",
    text: (one) =>
      markdown("Consumer lag", [...one.tables.map(tableBlock), ...one.excerpts.map(excerptBlock)]),
  },
];

/** What the assignment asks for besides the report, as files; `missing` are those whose experiment was not run, or left too little. */
export function handinFiles(evidence: Evidence[]): { files: HandinFile[]; missing: string[] } {
  const made = recipes.map(({ experiment, text, ...file }) => {
    const one = evidence.find((candidate) => candidate.experiment === experiment);
    return { ...file, experiment, text: one && text(one, evidence) };
  });
  return {
    files: made.flatMap(({ answers, path, text, title }) =>
      text === undefined ? [] : [{ answers, path, text, title }],
    ),
    missing: made
      .filter(({ text }) => text === undefined)
      .map(({ experiment, path }) => `${path}: nothing from ${experiment}`),
  };
}

/** The tables with the percentiles of `POST /order`, titled by their experiment. */
function latencyTables(evidence: Evidence[]): Table[] {
  return evidence.flatMap(({ experiment, model, tables }) =>
    tables
      .filter(({ id }) => id === "latency")
      .map((table) => ({ ...table, title: `${model}/${experiment}: ${table.title}` })),
  );
}

function latencyCsv(evidence: Evidence[]): string {
  const tables = latencyTables(evidence);
  const head = (tables[0]?.columns ?? []).map(({ name, unit }) =>
    unit ? `${name}_${unit}` : name,
  );
  const rows = tables.flatMap(({ rows: own, title }) => {
    const [experiment = ""] = title.split(":", 1);
    return own.map((row) => [experiment, ...row]);
  });
  const quoted = (cell: Scalar) => `"${String(cell ?? "").replaceAll('"', '""')}"`;
  const lines = [["experiment", ...head], ...rows].map((row) => row.map(quoted).join(","));
  return `${lines.join("\n")}\n`;
}

/** `GET /metrics` as it was answered, with the kitchens that the excerpt leaves out. */
function metricsOf({ excerpts, tables }: Evidence): string | undefined {
  const answer = excerpts.find(({ id }) => id === "metrics");
  const kitchens = tables.find(({ id }) => id === "kitchens");
  if (!answer || !kitchens) return undefined;
  const names = kitchens.columns.map(({ name }) => name.replaceAll(" ", "_"));
  const byKitchen = kitchens.rows.map(([kitchen, ...cells]) => [
    kitchen,
    Object.fromEntries(cells.map((cell, i) => [names[i + 1], cell])),
  ]);
  const metrics = JSON.parse(answer.text) as Record<string, unknown>;
  return json({ ...metrics, kitchens: Object.fromEntries(byKitchen) });
}

/** A column of the replay's table of metrics, by metric. */
function columnOf({ tables }: Evidence, name: string): Record<string, Scalar> {
  const table = tables.find(({ id }) => id === "metrics");
  const at = table?.columns.findIndex((column) => column.name === name) ?? -1;
  if (!table || at === -1) return {};
  return Object.fromEntries(table.rows.map((row) => [String(row[0]), row[at] ?? null]));
}

function metricsDiff(one: Evidence): string {
  const [before, after] = [columnOf(one, "before"), columnOf(one, "after")];
  const lines = Object.entries(before).flatMap(([metric, value]) =>
    value === after[metric]
      ? [`  ${metric}: ${String(value)}`]
      : [`- ${metric}: ${String(value)}`, `+ ${metric}: ${String(after[metric] ?? null)}`],
  );
  const note = one.tables.find(({ id }) => id === "metrics")?.note;
  return `${["--- metrics-before.json", "+++ metrics-after.json", ...lines, ...(note ? [`# ${note}`] : [])].join("\n")}\n`;
}

function json(value: object): string | undefined {
  return Object.keys(value).length === 0 ? undefined : `${JSON.stringify(value, null, 2)}\n`;
}

function markdown(title: string, blocks: Block[]): string {
  return `# ${title}\n\n${toMarkdown(blocks)}`;
}

function tableBlock(table: Table): Block {
  return { kind: "table", table: showTable(table) };
}

function excerptBlock({ text, title }: Excerpt): Block {
  return { kind: "preformatted", title, text };
}
