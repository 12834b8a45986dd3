import { formatNumber } from "../text/format.ts";
import { CHARACTER_PX, escape, round } from "./chart-parts.ts";
import type { Phase } from "../text/picture.ts";

/** A phase's height: its name, its bar, the gap to the next. */
const ROW_PX = 56;
const BAR_PX = 24;
const MARGIN_PX = 12;

/** A bar for each phase, divided by what clients were told; a phase in which one was not served is shaded. */
export function answersChart(phases: Phase[], width: number): { height: number; svg: string } {
  const rows = phases.map((phase, i) => phaseRow(phase, i * ROW_PX, width));
  return { height: phases.length * ROW_PX, svg: rows.join("") };
}

function phaseRow({ name, answers, p50Ms }: Phase, top: number, width: number): string {
  const room = width - 2 * MARGIN_PX;
  const all = answers.reduce((sum, { orders }) => sum + orders, 0);
  const labels = answers.map(({ orders, text }) => `${formatNumber(orders)} × ${text}`);
  let left = MARGIN_PX;
  const parts = answers.map(({ kind, orders }, i) => {
    const label = labels[i] ?? "";
    const wide = (room * orders) / all;
    const fits = label.length * (CHARACTER_PX + 0.8) + 12 <= wide;
    const bar = `<rect class="${kind}" x="${round(left)}" y="${top + 24}" width="${round(wide)}" height="${BAR_PX}" rx="3"/>`;
    const text = fits
      ? `<text class="inside" x="${round(left + 8)}" y="${top + 24 + 16}">${escape(label)}</text>`
      : "";
    left += wide;
    return { svg: bar + text, beside: fits ? [] : [label] };
  });
  // What doesn't fit into its part of the bar stands above it.
  const median = p50Ms === undefined ? [] : [`median ${formatNumber(p50Ms)} ms`];
  const beside = [...parts.flatMap((part) => part.beside), ...median].join(", ");
  const shade = answers.some(({ kind }) => kind !== "ok")
    ? `<rect class="shade" x="0" y="${top + 2}" width="${width}" height="${ROW_PX - 4}"/>`
    : "";
  return (
    `${shade}<text class="name" x="${MARGIN_PX}" y="${top + 18}">${escape(name)}</text>` +
    `<text x="${width - MARGIN_PX}" y="${top + 18}" text-anchor="end">${escape(beside)}</text>` +
    parts.map(({ svg }) => svg).join("")
  );
}
