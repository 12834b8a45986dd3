import type { Series } from "@lab/evidence/evidence";
import { formatNumber } from "../text/format.ts";
import { type Axis, linearAxis, logAxis, percentileAxis } from "./axes.ts";
import { CHARACTER_PX, escape, type Frame, inks, LINE_PX, round } from "./chart-parts.ts";

/** A plot's sides, and where it puts a point. */
interface Area {
  left: number;
  right: number;
  top: number;
  bottom: number;
  toX: (value: number) => number;
  toY: (value: number) => number;
}

interface Axes {
  x: Axis;
  y: Axis;
  plottable: (y: number) => boolean;
}

/** The lines of a series over its axes, each named at its end; faults are shaded bands. */
export function linesChart(series: Series, frame: Frame): string {
  const axes = axesOf(series, frame);
  // One line needs no name: the axis says what it is.
  const named = series.lines.length > 1;
  const longest = Math.max(0, ...series.lines.map(({ name }) => name.length));
  const sides = {
    left: 64,
    right: frame.width - (named ? 40 + longest * CHARACTER_PX : 20),
    top: 34,
    bottom: frame.height - 48,
  };
  const area: Area = {
    ...sides,
    toX: (value) => round(sides.left + axes.x.place(value) * (sides.right - sides.left)),
    toY: (value) => round(sides.bottom - axes.y.place(value) * (sides.bottom - sides.top)),
  };
  const { left, right, top } = area;
  return [
    `<text class="name" x="12" y="${top - 16}">${escape(axisName(series.y))}${series.y.log ? ", log scale" : ""}</text>`,
    ...grid(area, axes),
    ...bands(series.shaded, area),
    ...lines(series, area, axes),
    ...(named ? names(series, area, axes) : []),
    // Of many lines none is the one that the chart is about.
    ...(series.shaded.length > 0 && series.lines.length <= 2 ? [peak(series.lines, area)] : []),
    `<text class="name" x="${(left + right) / 2}" y="${frame.height - 8}" text-anchor="middle">${escape(axisName(series.x))}</text>`,
  ].join("");
}

function axesOf(series: Series, { width, height }: Frame): Axes {
  const plottable = (y: number): boolean => Number.isFinite(y) && (!series.y.log || y > 0);
  const edges = series.shaded.flatMap((window) => [window.from, window.to]);
  const xs: number[] = [];
  const ys: number[] = [];
  for (const { points } of series.lines) {
    for (const [x, y] of points) {
      if (!plottable(y)) continue;
      xs.push(x);
      ys.push(y);
    }
  }
  const [left, right] = range(xs.concat(edges, series.x.from ?? []), [0, 1]);
  const [bottom, top] = range(ys, series.y.log ? [1, 10] : [0, 1]);
  return {
    x:
      series.x.unit === "percentile"
        ? percentileAxis(xs)
        : linearAxis(left >= 0 ? 0 : left, right, width / 95, true),
    y: series.y.log
      ? logAxis(bottom, top)
      : linearAxis(Math.min(bottom, 0), top, Math.min(5, height / 60)),
    plottable,
  };
}

/** The lowest and the highest of them. In a loop: the live page draws thousands of points a second. */
function range(values: readonly number[], none: [number, number]): [number, number] {
  if (values.length === 0) return none;
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

function grid({ bottom, left, right, toX, toY, top }: Area, { x, y }: Axes): string[] {
  return [
    ...y.ticks.map(
      (tick) =>
        `<path class="grid" d="M${left} ${toY(tick)}H${right}"/>` +
        `<text x="${left - 8}" y="${toY(tick) + 4}" text-anchor="end">${y.label(tick)}</text>`,
    ),
    ...x.ticks.map((tick) => `<path class="grid" d="M${toX(tick)} ${top}V${bottom}"/>`),
    ...apart(x.ticks, toX).map(
      (tick) =>
        `<text x="${toX(tick)}" y="${bottom + 18}" text-anchor="middle">${x.label(tick)}</text>`,
    ),
    `<path class="axis" d="M${left} ${top}V${bottom}H${right}"/>`,
  ];
}

/** The ticks that have room for their labels; of those that would meet, the last. */
function apart(ticks: number[], toX: (tick: number) => number): number[] {
  return ticks.reduceRight<number[]>((kept, tick) => {
    const [next] = kept;
    return next === undefined || toX(next) - toX(tick) >= TICK_PX ? [tick, ...kept] : kept;
  }, []);
}

/** The room of a tick's label: "1,000", and a space. */
const TICK_PX = 34;

/**
 * The windows, each with its label in the first line where that meets no other; a label that has no
 * room in the upper half of the plot is left out.
 */
function bands(windows: Series["shaded"], { bottom, left, right, toX, top }: Area): string[] {
  /** By line, the stretches that labels take. */
  const taken: [from: number, to: number][][] = [];
  const most = Math.max(2, Math.floor((bottom - top) / 2 / LINE_PX));
  return windows.map(({ from, label, to }) => {
    const [start, end] = [toX(from), toX(to)];
    const width = label.length * CHARACTER_PX;
    const [fitsRight, fitsLeft] = [start + 5 + width <= right, end - 5 - width >= left];
    const endsRight = fitsRight === fitsLeft ? start > (left + right) / 2 : fitsLeft;
    const x = endsRight ? end - 5 : start + 5;
    const [low, high] = endsRight ? [x - width, x] : [x, x + width];
    const isFree = (line: [number, number][] = []) => line.every(([a, b]) => high < a || b < low);
    const n = Array.from({ length: most }, (_, i) => i).find((i) => isFree(taken[i]));
    if (n !== undefined) (taken[n] ??= []).push([low, high]);
    const text =
      n === undefined
        ? ""
        : `<text x="${x}" y="${top + 15 + n * LINE_PX}" text-anchor="${endsRight ? "end" : "start"}">${escape(label)}</text>`;
    return (
      `<rect class="shade" x="${start}" y="${top}" width="${round(end - start)}" height="${bottom - top}"/>` +
      `<path class="edge" d="M${start} ${top}V${bottom}M${end} ${top}V${bottom}"/>${text}`
    );
  });
}

function lines(series: Series, { toX, toY }: Area, { plottable }: Axes): string[] {
  // A line that a later one covers exactly, as a replay's should, is drawn wider, so that both are
  // visible.
  const covered = (i: number): boolean =>
    series.lines.some(
      ({ points }, later) => later > i && isSame(points, series.lines[i]?.points ?? []),
    );
  return series.lines.map(({ points }, i) => {
    const shown = points.filter(([, value]) => plottable(value));
    let path = "";
    let isGap = true;
    for (const [px, py] of points) {
      if (plottable(py)) path += `${isGap ? "M" : "L"}${toX(px)} ${toY(py)}`;
      // What a log scale has no place for is passed over.
      if (plottable(py) || Number.isNaN(py)) isGap = Number.isNaN(py);
    }
    const dots =
      shown.length <= 16
        ? shown.map(
            ([px, py]) =>
              `<circle class="d${i % inks.length}" cx="${toX(px)}" cy="${toY(py)}" r="3"/>`,
          )
        : [];
    return `<path class="l${i % inks.length}" stroke-width="${covered(i) ? 7 : 2.2}"${covered(i) ? ' stroke-opacity=".45"' : ""} d="${path}"/>${dots.join("")}`;
  });
}

/** Not Bun.deepEquals: a browser draws with this, too. */
function isSame(some: [number, number][], others: [number, number][]): boolean {
  return (
    some.length === others.length &&
    some.every(([x, y], i) => others[i]?.[0] === x && others[i]?.[1] === y)
  );
}

/** Each line's name where it ends, beside a piece of it; names that would meet are moved apart. */
function names(series: Series, { bottom, right, toY, top }: Area, { plottable }: Axes): string[] {
  const ends = series.lines
    .map(({ name, points }, i) => {
      const last = points.findLast(([, value]) => plottable(value));
      return { name, i, y: last ? toY(last[1]) : bottom };
    })
    .toSorted((a, b) => a.y - b.y || a.i - b.i);
  const lowest = bottom - (ends.length - 1) * LINE_PX;
  let free = top + 4;
  return ends.map(({ i, name, y }, rank) => {
    const at = Math.max(free, Math.min(y, lowest + rank * LINE_PX));
    free = at + LINE_PX;
    return (
      `<path class="l${i % inks.length}" stroke-width="2.5" d="M${round(right + 6)} ${round(at)}h22"/>` +
      `<text x="${round(right + 33)}" y="${round(at + 4)}">${escape(name)}</text>`
    );
  });
}

/** The highest value of the first line, in figures: how far the fault drove what the chart is about. */
function peak([first]: Series["lines"], { left, right, toX, toY }: Area): string {
  const [start, ...rest] = (first?.points ?? []).filter(([, value]) => !Number.isNaN(value));
  if (!start) return "";
  const [x, y] = rest.reduce((a, b) => (b[1] > a[1] ? b : a), start);
  const isLate = toX(x) > (left + right) / 2;
  return (
    `<circle class="d0" cx="${toX(x)}" cy="${toY(y)}" r="4"/>` +
    `<text class="name" x="${toX(x) + (isLate ? -8 : 8)}" y="${toY(y) + 4}" text-anchor="${isLate ? "end" : "start"}">${formatNumber(y)}</text>`
  );
}

function axisName({ name, unit }: { name: string; unit: string }): string {
  const title = name.slice(0, 1).toUpperCase() + name.slice(1);
  return unit && unit.toLowerCase() !== name.toLowerCase() ? `${title} (${unit})` : title;
}
