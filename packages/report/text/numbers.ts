import type { Series } from "@lab/evidence/evidence";
import { showTable, type ShownTable } from "./document.ts";

/** So many rows at most, besides the peaks. */
const ROWS = 20;

/** The numbers of a line chart as a table: evenly chosen samples, the first, the last and each line's peak among them. */
export function numbersTable({ id, lines, title, x, y }: Series): ShownTable {
  const at = [...new Set(lines.flatMap(({ points }) => points.map(([one]) => one)))].toSorted(
    (a, b) => a - b,
  );
  const step = Math.max(1, (at.length - 1) / (ROWS - 1));
  const even = Array.from(
    { length: Math.min(ROWS, at.length) },
    (_, i) => at[Math.round(i * step)] ?? 0,
  );
  const peaks = lines.flatMap(({ points: [first, ...rest] }) =>
    first ? [rest.reduce((a, b) => (b[1] > a[1] ? b : a), first)[0]] : [],
  );
  const shown = [...new Set([...even, ...peaks])].toSorted((a, b) => a - b);
  const values = lines.map(({ points }) => new Map(points));
  return showTable({
    id,
    title: `${title} (${y.name}${y.unit === y.name ? "" : `, ${y.unit}`})`,
    columns: [x.unit === x.name ? { name: x.name } : x, ...lines.map(({ name }) => ({ name }))],
    rows: shown.map((one) => [one, ...values.map((line) => line.get(one) ?? null)]),
    ...(shown.length < at.length && {
      note: `${shown.length} of ${at.length} samples; all of them are in the raw evidence.`,
    }),
  });
}
