import { formatNumber } from "../text/format.ts";
import { CHARACTER_PX, escape, LINE_PX, round } from "./chart-parts.ts";
import type { Phase } from "../text/picture.ts";

/** A phase's height: its name, its bar, the gap to the next. */
const ROW_PX = 56;
const BAR_PX = 24;
const MARGIN_PX = 12;

/** A bar for each phase, divided by what clients were told; a phase in which one was not served is shaded. */
export function answersChart(phases: Phase[], width: number): { height: number; svg: string } {
  let height = 0;
  const rows = phases.map((phase) => {
    const row = phaseRow(phase, height, width);
    height += row.height;
    return row.svg;
  });
  return { height, svg: rows.join("") };
}

function phaseRow(
  { answers, name, p50Ms }: Phase,
  top: number,
  width: number,
): { height: number; svg: string } {
  const room = width - 2 * MARGIN_PX;
  const { bar, outside } = barOf(answers, top + 24, room);
  const median = p50Ms === undefined ? [] : [`median ${formatNumber(p50Ms)} ms`];
  const beside = [...outside, ...median].join(", ");
  // On a line of its own where the name leaves no room.
  const isBelow = (name.length + beside.length + 3) * (CHARACTER_PX + 0.4) > room;
  const height = ROW_PX + (isBelow ? LINE_PX : 0);
  const shade = answers.some(({ kind }) => kind !== "ok")
    ? `<rect class="shade" x="0" y="${top + 2}" width="${width}" height="${height - 4}"/>`
    : "";
  const besideAt = isBelow
    ? `x="${MARGIN_PX}" y="${top + 24 + BAR_PX + 14}"`
    : `x="${width - MARGIN_PX}" y="${top + 18}" text-anchor="end"`;
  return {
    height,
    svg:
      `${shade}<text class="name" x="${MARGIN_PX}" y="${top + 18}">${escape(name)}</text>` +
      `<text ${besideAt}>${escape(beside)}</text>${bar}`,
  };
}

/** The bar, and the labels of those of its parts that are too narrow for them. */
function barOf(
  answers: Phase["answers"],
  top: number,
  room: number,
): { bar: string; outside: string[] } {
  const all = answers.reduce((sum, { orders }) => sum + orders, 0);
  const outside: string[] = [];
  let left = MARGIN_PX;
  const parts = answers.map(({ kind, orders, text }) => {
    const label = `${formatNumber(orders)} × ${text}`;
    const wide = (room * orders) / all;
    const at = left;
    left += wide;
    const part = `<rect class="${kind}" x="${round(at)}" y="${top}" width="${round(wide)}" height="${BAR_PX}" rx="3"/>`;
    if (label.length * (CHARACTER_PX + 0.8) + 12 <= wide) {
      return `${part}<text class="inside" x="${round(at + 8)}" y="${top + 16}">${escape(label)}</text>`;
    }
    outside.push(label);
    return part;
  });
  return { bar: parts.join(""), outside };
}
