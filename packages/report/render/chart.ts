import type { Series } from "@lab/evidence/evidence";
import { formatNumber, withDecimals } from "../text/format.ts";

const size = { width: 760, height: 380 };
const characterWidth = 6.7; // Of 12 px sans-serif, on average; only the legend's wrapping rests on it.

/**
 * Ten colours with a contrast of at least 4.5:1 to the page in both schemes; dash patterns
 * distinguish them without colour.
 */
const inks: [light: string, dark: string, dash: string][] = [
  ["#1558b0", "#7ab3ff", ""],
  ["#b93a07", "#ff9e64", "8 4"],
  ["#11703a", "#5fd68b", "2 3"],
  ["#8a2be2", "#d0a3ff", "10 3 2 3"],
  ["#7a5200", "#f2c94c", "5 2"],
  ["#0b6b7d", "#56d4e6", "1 4"],
  ["#b3124b", "#ff85ab", "12 4"],
  ["#4a5568", "#c3cddb", "6 2 1 2 1 2"],
  ["#5b6300", "#cfdb5a", "3 6"],
  ["#6b3fa0", "#b9a3e3", "14 3 4 3"],
];

/** The CSS that charts need: once in a page, or inside a standalone SVG file. Follows the colour scheme. */
export function chartStyle(): string {
  const scheme = (dark: boolean): string =>
    [
      ...inks.map(([light, night], i) => `--ink${i}:${dark ? night : light}`),
      ...(dark
        ? ["--chart-text:#c9d1dc", "--chart-grid:#333c49", "--shade:#ff7b72"]
        : ["--chart-text:#3d4653", "--chart-grid:#dde2e9", "--shade:#d1242f"]),
    ].join(";");
  return [
    `:root{${scheme(false)}}`,
    `@media screen and (prefers-color-scheme:dark){:root{${scheme(true)}}}`,
    ".chart text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:var(--chart-text)}",
    ".chart .name{font-weight:600}",
    ".chart .grid{stroke:var(--chart-grid);fill:none}",
    ".chart .axis{stroke:var(--chart-text);fill:none}",
    ".chart .shade{fill:var(--shade);fill-opacity:.1}",
    ".chart .edge{stroke:var(--shade);stroke-dasharray:3 3;stroke-opacity:.7}",
    ...inks.map(
      ([, , dash], i) =>
        `.chart .l${i}{stroke:var(--ink${i});fill:none;stroke-linejoin:round${dash && `;stroke-dasharray:${dash}`}}` +
        `.chart .d${i}{fill:var(--ink${i})}`,
    ),
  ].join("\n");
}

/** The chart of a series as an SVG element, for a page that holds `chartStyle()`. `id` must be unique in the page. */
export function chart(series: Series, id: string): string {
  return draw(series, id, "");
}

/** The chart of a series as a standalone SVG file, light or dark by the reader's colour scheme. */
export function chartFile(series: Series): string {
  const dark = "@media screen and (prefers-color-scheme:dark){.page{fill:#12161c}}";
  const page = `<style>\n.page{fill:#fff}\n${dark}\n${chartStyle()}\n</style><rect class="page" width="100%" height="100%"/>`;
  return `${draw(series, series.id, page)}\n`;
}

/** A text alternative of a chart, a sentence for each line. */
export function describeSeries(series: Series): string {
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
  return [...sentences, ...describeShaded(series)].join(" ");
}

/** A sentence for each shaded window. */
export function describeShaded({ shaded, x }: Series): string[] {
  return shaded.map(
    ({ label, from, to }) =>
      `Shaded: ${label}, ${formatNumber(from)} to ${formatNumber(to)} ${x.unit}.`,
  );
}

interface Axis {
  ticks: number[];
  /** The position of a value, from 0 (start) to 1 (end). */
  place: (value: number) => number;
  label: (value: number) => string;
}

/** Ticks at 1, 2 or 5 times a power of ten; the axis ends at ticks, or, when `tight`, where the values end. */
export function linearAxis(low: number, high: number, about: number, tight = false): Axis {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / about));
  const step = power * ([1, 2, 5].find((n) => n * power * about >= span * 0.999) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
  const [start, end] = tight && high > low ? [low, high] : [first * step, last * step];
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return {
    ticks: Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step).filter(
      (tick) => tick >= start - step / 1e6 && tick <= end + step / 1e6,
    ),
    place: (value) => (value - start) / (end - start),
    label: (value) => withDecimals(value, decimals),
  };
}

/**
 * From the 1, 2 or 5 times a power of ten below to the one above; where there are many, only powers
 * of ten have labels.
 */
export function logAxis(low: number, high: number): Axis {
  const from = Math.floor(Math.log10(low) + 1e-9);
  const to = Math.ceil(Math.log10(high) - 1e-9) + 1;
  const all = Array.from({ length: to - from }, (_, i) => from + i).flatMap((power) =>
    [1, 2, 5].map((n) => n * 10 ** power),
  );
  const bottom = all.findLast((tick) => tick <= low * 1.001) ?? low;
  const top = all.find((tick) => tick >= high * 0.999 && tick > bottom) ?? high;
  const within = all.filter((tick) => tick >= bottom && tick <= top);
  const powers = within.filter((tick) => Number.isInteger(Math.log10(tick)));
  const start = Math.log10(bottom);
  return {
    ticks: powers.length > 3 ? powers : within,
    place: (value) => (Math.log10(value) - start) / (Math.log10(top) - start),
    label: formatNumber,
  };
}

/**
 * Percentiles on a logarithmic scale, where each further nine has the same width: 0, 90, 99, 99.9 …
 * On a linear scale the tail, the purpose of a latency chart, would be one pixel wide. 100, the
 * slowest request, has no position on such a scale: it is placed half a nine after the last
 * percentile before it.
 */
export function percentileAxis(values: number[]): Axis {
  const nines = (value: number): number => -Math.log10(1 - value / 100);
  const highest = Math.max(0, ...values.filter((value) => value < 100));
  const known = [0, 50, 75, 90, 95, 99, 99.9, 99.99, 99.999];
  const below = known.filter((tick) => tick <= highest);
  const slowest = values.includes(100) ? [100] : [];
  const span = nines(highest) + (slowest.length > 0 ? 0.5 : 0) || 1;
  return {
    ticks: [...below, ...slowest],
    place: (value) => Math.min(nines(value) / span, 1),
    label: (value) => (value === 100 ? "max" : String(value)),
  };
}

function axesOf(series: Series): {
  x: Axis;
  y: Axis;
  plottable: (y: number) => boolean;
} {
  const plottable = (y: number): boolean => Number.isFinite(y) && (!series.y.log || y > 0);
  const points = series.lines.flatMap((line) => line.points).filter(([, y]) => plottable(y));
  const edges = series.shaded.flatMap((window) => [window.from, window.to]);
  const xs = [...points.map(([x]) => x), ...edges];
  const ys = points.map(([, y]) => y);
  const range = (values: number[], none: [number, number]): [number, number] =>
    values.length
      ? [values.reduce((a, b) => Math.min(a, b)), values.reduce((a, b) => Math.max(a, b))]
      : none;
  const [left, right] = range(xs, [0, 1]);
  const [bottom, top] = range(ys, series.y.log ? [1, 10] : [0, 1]);
  return {
    x:
      series.x.unit === "percentile"
        ? percentileAxis(points.map(([x]) => x))
        : linearAxis(left >= 0 ? 0 : left, right, 8, true),
    y: series.y.log ? logAxis(bottom, top) : linearAxis(Math.min(bottom, 0), top, 5),
    plottable,
  };
}

function draw(series: Series, id: string, head: string): string {
  const { x, y, plottable } = axesOf(series);
  const legend = legendRows(series, size.width - 80);
  const plot = {
    left: 64,
    right: size.width - 20,
    top: 30 + legend.rows * 20,
    bottom: size.height - 48,
  };
  const toX = (value: number): number =>
    round(plot.left + x.place(value) * (plot.right - plot.left));
  const toY = (value: number): number =>
    round(plot.bottom - y.place(value) * (plot.bottom - plot.top));

  const grid = [
    ...y.ticks.map(
      (tick) =>
        `<path class="grid" d="M${plot.left} ${toY(tick)}H${plot.right}"/>` +
        `<text x="${plot.left - 8}" y="${toY(tick) + 4}" text-anchor="end">${y.label(tick)}</text>`,
    ),
    ...x.ticks.map(
      (tick) =>
        `<path class="grid" d="M${toX(tick)} ${plot.top}V${plot.bottom}"/>` +
        `<text x="${toX(tick)}" y="${plot.bottom + 18}" text-anchor="middle">${x.label(tick)}</text>`,
    ),
    `<path class="axis" d="M${plot.left} ${plot.top}V${plot.bottom}H${plot.right}"/>`,
  ];

  const shades = series.shaded.map((window, i) => {
    const from = toX(window.from);
    const to = toX(window.to);
    const end = from > (plot.left + plot.right) / 2;
    // Neighbouring windows may be narrower than their labels: every other label is a line lower.
    const height = plot.top + 15 + (i % 2) * 16;
    return (
      `<rect class="shade" x="${from}" y="${plot.top}" width="${round(to - from)}" height="${plot.bottom - plot.top}"/>` +
      `<path class="edge" d="M${from} ${plot.top}V${plot.bottom}M${to} ${plot.top}V${plot.bottom}"/>` +
      `<text x="${end ? to - 5 : from + 5}" y="${height}" text-anchor="${end ? "end" : "start"}">${escape(window.label)}</text>`
    );
  });

  // A line that a later one covers exactly, as a replay's should, is drawn wider, so that both are
  // visible.
  const covered = (i: number): boolean =>
    series.lines.some(
      ({ points }, later) => later > i && Bun.deepEquals(points, series.lines[i]?.points),
    );
  const lines = series.lines.map(({ points }, i) => {
    const shown = points.filter(([, value]) => plottable(value));
    const path = shown.map(([px, py], n) => `${n ? "L" : "M"}${toX(px)} ${toY(py)}`).join("");
    const dots =
      shown.length <= 16
        ? shown.map(
            ([px, py]) =>
              `<circle class="d${i % inks.length}" cx="${toX(px)}" cy="${toY(py)}" r="3"/>`,
          )
        : [];
    return `<path class="l${i % inks.length}" stroke-width="${covered(i) ? 7 : 2.2}"${covered(i) ? ' stroke-opacity=".45"' : ""} d="${path}"/>${dots.join("")}`;
  });

  return [
    `<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${size.width} ${size.height}" role="img" aria-labelledby="${id}-title ${id}-desc">`,
    `<title id="${id}-title">${escape(series.title)}</title><desc id="${id}-desc">${escape(describeSeries(series))}</desc>`,
    head,
    legend.svg,
    `<text class="name" x="${plot.left - 52}" y="${plot.top - 12}">${escape(axisName(series.y))}${series.y.log ? ", log scale" : ""}</text>`,
    ...grid,
    ...shades,
    ...lines,
    `<text class="name" x="${(plot.left + plot.right) / 2}" y="${size.height - 8}" text-anchor="middle">${escape(axisName(series.x))}</text>`,
    "</svg>",
  ].join("");
}

function axisName({ name, unit }: { name: string; unit: string }): string {
  return unit && unit !== name ? `${name} (${unit})` : name;
}

function legendRows(series: Series, width: number): { rows: number; svg: string } {
  let row = 0;
  let at = 0;
  const entries = series.lines.map(({ name }, i) => {
    const needs = 50 + name.length * characterWidth;
    if (at > 0 && at + needs > width) {
      row += 1;
      at = 0;
    }
    const left = 12 + at;
    const middle = 14 + row * 20;
    at += needs;
    return (
      `<path class="l${i % inks.length}" stroke-width="2.5" d="M${round(left)} ${middle}h30"/>` +
      `<text x="${round(left + 36)}" y="${middle + 4}">${escape(name)}</text>`
    );
  });
  return { rows: row + 1, svg: entries.join("") };
}

/** Text made safe inside XML and HTML, attributes included. */
export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
