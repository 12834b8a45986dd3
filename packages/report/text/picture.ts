import type { Evidence, Series } from "@lab/evidence/evidence";
import { Figures } from "./figure-reader.ts";
import { findings } from "./findings.ts";
import { formatNumber } from "./format.ts";

/** What clients were told in one phase of an experiment. */
export interface Phase {
  name: string;
  answers: { kind: "ok" | "failed" | "unknown"; text: string; orders: number }[];
  /** Median latency of the answers, where it was measured. */
  p50Ms?: number;
}

/** What a chart shows: lines over an axis, or the answers of each phase. */
type Plot = { kind: "lines"; series: Series } | { kind: "answers"; phases: Phase[] };

/** A chart of an experiment: what it found, what it shows. */
export interface Picture {
  /** Unique within the experiment. */
  id: string;
  /** Its title: a sentence of measured figures, or else what it shows. */
  finding: string;
  /** What is drawn. */
  about: string;
  plot: Plot;
}

/** The charts of an experiment: of what clients were told, where it has a table of that, and of each series. */
export function picturesOf(one: Evidence): Picture[] {
  const figures = new Figures([one]);
  const titled = (id: string, about: string, plot: Plot): Picture => {
    const found = findings[`${one.experiment}/${id}`]?.(figures) ?? about;
    // A number and its unit stay on one line.
    const finding = found.replace(/(?<=\d) (?=(ms|s|%|units)\b|%)/g, "\u00a0");
    return { id, finding, about, plot };
  };
  const phases = phasesOf(one);
  return [
    ...(phases.length > 0
      ? [
          titled("answers", "What the client was told, and the median wait", {
            kind: "answers",
            phases,
          }),
        ]
      : []),
    ...one.series.map((series) => titled(series.id, series.title, { kind: "lines", series })),
  ];
}

/** The phases of the table `answers`, with the medians of the table `latency`. */
function phasesOf({ tables }: Evidence): Phase[] {
  const rowsOf = (id: string, columns: string[]) => {
    const table = tables.find((one) => one.id === id);
    const at = columns.map((name) => table?.columns.findIndex((one) => one.name === name) ?? -1);
    return at.includes(-1) ? [] : (table?.rows ?? []).map((row) => at.map((i) => row[i] ?? null));
  };
  const medians = new Map(rowsOf("latency", ["load", "p50"]).map(([load, p50]) => [load, p50]));
  const byPhase = Map.groupBy(rowsOf("answers", ["phase", "answer", "orders"]), ([phase]) => phase);
  return [...byPhase].map(([name, rows]): Phase => {
    const p50 = medians.get(name ?? null);
    return {
      name: String(name),
      answers: rows.map(([, answer, orders]) => answerOf(String(answer), Number(orders))),
      ...(typeof p50 === "number" && { p50Ms: p50 }),
    };
  });
}

/** An answer as the tables name it: `ok 201`, `failed 503 inventory_unreachable`, `unknown timeout`. */
function answerOf(answer: string, orders: number): Phase["answers"][0] {
  const [, kind = "", text = ""] = /^(ok|failed) (.+)$/.exec(answer) ?? [];
  if (kind === "ok" || kind === "failed") return { kind, text, orders };
  return { kind: "unknown", text: answer.replace(/^unknown /, "no answer: "), orders };
}

/** A text alternative of a chart, a sentence for each line or phase. */
export function describe({ plot }: Picture): string {
  if (plot.kind === "lines") return describeLines(plot.series).join(" ");
  return plot.phases.map(describePhase).join(" ");
}

function describePhase({ name, answers, p50Ms }: Phase): string {
  const told = answers.map(({ orders, text }) => `${formatNumber(orders)} orders ${text}`);
  const wait = p50Ms === undefined ? "" : `, median ${formatNumber(p50Ms)} ms`;
  return `${name}: ${told.join(", ")}${wait}.`;
}

function describeLines(series: Series): string[] {
  const { x, y } = series;
  const at = (value: number): string =>
    x.unit === "percentile"
      ? value === 100
        ? "the slowest"
        : `p${value}`
      : `${formatNumber(value)} ${x.unit}`;
  const sentences = series.lines.map(({ name, points }) => {
    const first = points[0];
    const last = points.at(-1);
    if (!first || !last) return `${name}: no points.`;
    const top = points.reduce((a, b) => (b[1] > a[1] ? b : a));
    return (
      `${name}: from ${formatNumber(first[1])} at ${at(first[0])} to ${formatNumber(last[1])} at ${at(last[0])},` +
      ` highest ${formatNumber(top[1])} ${y.unit} at ${at(top[0])}.`
    );
  });
  return [...sentences, ...describeShaded(series)];
}

/** A sentence for each shaded window. */
export function describeShaded({ shaded, x }: Series): string[] {
  return shaded.map(
    ({ label, from, to }) =>
      `Shaded: ${label}, ${formatNumber(from)} to ${formatNumber(to)} ${x.unit}.`,
  );
}
