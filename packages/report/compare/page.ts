import type { Evidence } from "@lab/evidence/evidence";
import { type Block, type Panel, type ShownTable, slug } from "../text/document.ts";
import { escapeMarkdown, formatFigure, formatNumber } from "../text/format.ts";
import { picturesOf } from "../text/picture.ts";
import { type Change, changesBetween, differences, inBoth, NOISE_FACTOR } from "./changes.ts";

/** Two runs, by their names, and what they measured. */
export interface Pair {
  names: [before: string, after: string];
  before: Evidence[];
  after: Evidence[];
}

/** Two runs side by side: what changed beyond noise, then every figure and every chart of both. */
export function comparePage({ after, before, names }: Pair): Block[] {
  const changes = changesBetween(before, after);
  const changed = changes.filter((one) => one.changed);
  const other = differences(before, after);
  return [
    heading("changed", "What changed"),
    paragraph(
      `${changed.length} of ${changes.length} figures changed beyond noise. Counts have no noise: any difference is shown. What is timed or sampled counts as changed when it is more than ${NOISE_FACTOR} times the other; that much the same code may differ from run to run.`,
    ),
    ...(changed.length > 0
      ? [{ kind: "table", table: changesTable(changed, names) } as const]
      : []),
    ...(other.length > 0
      ? [
          heading("otherwise", "What else differs, and may be why"),
          { kind: "list", items: other.map(escapeMarkdown) } as const,
        ]
      : []),
    heading("side-by-side", "Side by side"),
    ...inBoth(before, after).flatMap((pair): Block[] => {
      const [{ experiment }] = pair;
      const own = changes.filter((one) => one.experiment === experiment);
      const panels = panelsOf(pair, names);
      return [
        { kind: "heading", level: 3, id: slug(experiment), text: experiment },
        ...(panels.length > 0 ? [{ kind: "panels", panels } as const] : []),
        {
          kind: "fold",
          title: `${own.length} figures, ${own.filter((one) => one.changed).length} changed`,
          blocks: [{ kind: "table", table: changesTable(own, names) }],
        },
      ];
    }),
  ];
}

/** A row for each figure: both values, and how many times as much the second is. */
export function changesTable(changes: Change[], names: Pair["names"]): ShownTable {
  return {
    title: "Figures",
    columns: [
      { name: "Figure", numeric: false },
      { name: "Experiment", numeric: false },
      ...names.map((name) => ({ name: escapeMarkdown(name), numeric: true })),
      { name: "times", numeric: true },
      { name: "Changed", numeric: false },
    ],
    rows: changes.map(({ after, before, changed, experiment, figure }) => [
      `\`${figure}\``,
      experiment,
      formatFigure(figure, before),
      formatFigure(figure, after),
      typeof before === "number" && typeof after === "number" && before !== 0
        ? formatNumber(after / before)
        : "–",
      changed ? "**yes**" : "no",
    ]),
  };
}

function panelsOf(pair: [Evidence, Evidence], names: Pair["names"]): Panel[] {
  const ids = picturesOf(pair[0]).map(({ id }) => id);
  return ids.flatMap((id) =>
    pair.flatMap((one, i): Panel[] => {
      const picture = picturesOf(one).find((candidate) => candidate.id === id);
      if (!picture) return [];
      const title = escapeMarkdown(names[i] ?? "");
      const text = escapeMarkdown(picture.finding);
      return [{ title, text, picture, id: `${one.experiment}-${slug(id)}-${i}`, file: "" }];
    }),
  );
}

function heading(id: string, text: string): Block {
  return { kind: "heading", level: 2, id, text };
}

function paragraph(text: string): Block {
  return { kind: "paragraph", text };
}
