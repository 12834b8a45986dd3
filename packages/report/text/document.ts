import type { Table } from "@lab/evidence/evidence";
import type { Picture } from "./picture.ts";
import { columnDecimals, escapeMarkdown, formatScalar, withDecimals } from "./format.ts";

/** A table for display: its cells are inline Markdown. The first column names the row. */
export interface ShownTable {
  title: string;
  columns: { name: string; numeric: boolean }[];
  rows: string[][];
  note?: string;
}

/**
 * The parts of a report, independent of Markdown and HTML. Texts are inline Markdown; text from
 * evidence is escaped with `escapeMarkdown`.
 */
export type Block =
  | { kind: "heading"; level: 2 | 3 | 4; id: string; text: string }
  | { kind: "paragraph"; text: string }
  | { kind: "list"; items: string[] }
  | { kind: "panels"; panels: Panel[] }
  | { kind: "verdict"; held: boolean; text: string }
  | { kind: "table"; table: ShownTable }
  | { kind: "chart"; picture: Picture; id: string; file: string }
  | { kind: "preformatted"; title: string; text: string }
  /** What is one click away, and on paper open unless it is for the screen only; the title is plain text. */
  | { kind: "fold"; title: string; blocks: Block[]; screenOnly?: true };

/** One of the pictures that stand side by side, with what it says. */
export interface Panel {
  title: string;
  text: string;
  picture: Picture;
  id: string;
  file: string;
}

/**
 * A table of evidence, prepared for display: units in the headings, the same number of decimals
 * within a column.
 */
export function showTable(table: Table): ShownTable {
  const columns = table.columns.map(({ name, unit }, i) => {
    const cells = table.rows.map((row) => row[i] ?? null);
    const numbers = cells.filter((cell) => typeof cell === "number");
    return {
      name: escapeMarkdown(unit ? `${name} (${unit})` : name),
      numeric:
        numbers.length > 0 && cells.every((cell) => cell === null || typeof cell === "number"),
      decimals: columnDecimals(numbers),
    };
  });
  return {
    title: escapeMarkdown(table.title),
    columns: columns.map(({ name, numeric }) => ({ name, numeric })),
    rows: table.rows.map((row) =>
      row.map((cell, i) => {
        const column = columns[i];
        if (typeof cell === "number" && column?.numeric) return withDecimals(cell, column.decimals);
        return escapeMarkdown(formatScalar(cell));
      }),
    ),
    ...(table.note && { note: escapeMarkdown(table.note) }),
  };
}

/** A name as a file name and anchor: lower case, digits and dashes. */
export function slug(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
}
