import type { Series } from "@lab/evidence/evidence";
import { expect, test } from "bun:test";
import { describe, type Picture, picturesOf } from "../text/picture.ts";
import { inventEvidence } from "../fixture.ts";
import { linearAxis, logAxis, percentileAxis } from "./axes.ts";
import { chart, chartFile } from "./chart.ts";

const series: Series = {
  id: "depth",
  title: "Depth of <a> & b",
  x: { name: "Time", unit: "s" },
  y: { name: "Depth", unit: "messages" },
  lines: [
    {
      name: "queue",
      points: [
        [0, 0],
        [10, 1_500],
        [20, 0],
      ],
    },
  ],
  shaded: [{ label: "Inventory dead", from: 2, to: 10 }],
};

const pictureOf = (shown: Series): Picture => ({
  id: shown.id,
  finding: "3 <b> waited",
  about: shown.title,
  plot: { kind: "lines", series: shown },
});
const picture = pictureOf(series);

test("linear ticks are round, and a tight axis ends where its values do", () => {
  expect(linearAxis(0, 1_500, 5).ticks).toEqual([0, 500, 1_000, 1_500]);
  expect(linearAxis(0, 0.7, 5).ticks.map(linearAxis(0, 0.7, 5).label)).toEqual([
    "0.0",
    "0.2",
    "0.4",
    "0.6",
    "0.8",
  ]);
  const tight = linearAxis(0, 90, 8, true);
  expect(tight.ticks).toEqual([0, 20, 40, 60, 80]);
  expect([tight.place(0), tight.place(45), tight.place(90)]).toEqual([0, 0.5, 1]);
});

test("an axis of one value or none has a length all the same", () => {
  for (const axis of [linearAxis(0, 0, 5), linearAxis(7, 7, 5), logAxis(1, 1)]) {
    expect(axis.ticks.length).toBeGreaterThan(1);
    expect(axis.ticks.map(axis.place).every(Number.isFinite)).toBe(true);
  }
});

test("a log axis goes from the 1, 2 or 5 below to the one above", () => {
  expect(logAxis(2.5, 90).ticks).toEqual([2, 5, 10, 20, 50, 100]);
  expect(logAxis(0.5, 9_000).ticks).toEqual([1, 10, 100, 1_000, 10_000]);
});

test("each further nine of a percentile gets the same room, and the slowest stands behind them", () => {
  const axis = percentileAxis([0, 50, 99, 99.9]);
  expect(axis.ticks.at(-1)).toBe(99.9);
  expect(axis.place(90)).toBeCloseTo(1 / 3);
  expect(axis.place(99)).toBeCloseTo(2 / 3);
  expect(axis.place(99.9)).toBeCloseTo(1);
  const slowest = percentileAxis([0, 50, 99, 100]);
  expect(slowest.ticks).toEqual([0, 50, 75, 90, 95, 99, 100]);
  expect(slowest.label(100)).toBe("max");
  expect(slowest.place(99)).toBeCloseTo(2 / 2.5);
  expect(slowest.place(100)).toBe(1);
});

test("a chart names its axes, shades its window and escapes its texts", () => {
  const svg = chart(picture, "c1");
  expect(svg).toContain("Depth (messages)");
  expect(svg).toContain("Time (s)");
  expect(svg).toContain(">Inventory dead</text>");
  expect(svg).toContain('class="shade"');
  expect(svg).toContain('aria-labelledby="c1-title c1-desc"');
  expect(svg).toContain(">1,500</text>");
  expect(svg).not.toMatch(/<[ab]>/);
});

test("points that a log scale can't show leave no NaN behind", () => {
  const log: Series = {
    ...series,
    y: { ...series.y, log: true },
  };
  expect(chart(pictureOf(log), "c")).not.toMatch(/NaN|Infinity/);
  expect(chart(pictureOf({ ...log, lines: [], shaded: [] }), "c")).not.toMatch(/NaN|Infinity/);
});

test("a line that a later one covers exactly is drawn broad", () => {
  const [queue] = series.lines;
  if (!queue) throw new Error("the series has a line");
  const twice = { ...series, lines: [queue, { ...queue, name: "again" }] };
  expect(chart(pictureOf(twice), "c")).toContain('class="l0" stroke-width="7"');
  expect(chart(picture, "c")).not.toContain('stroke-width="7"');
});

test("a chart's file carries its own style and needs no network", () => {
  const file = chartFile(picture);
  expect(file).toContain("prefers-color-scheme:dark");
  expect(file.replace("http://www.w3.org/2000/svg", "")).not.toContain("http");
});

test("the description says what can be seen", () => {
  expect(describe(picture)).toBe(
    "queue: from 0 at 0 s to 0 at 20 s, highest 1,500 messages at 10 s. Shaded: Inventory dead, 2 to 10 s.",
  );
});

test.each([
  ["the bottom", 0],
  ["the top", 1_500],
])("names of lines that end together at %s stand apart, within the plot", (_, end) => {
  const points: [number, number][] = [
    [0, 0],
    [10, 1_500],
    [20, end],
  ];
  const lines = ["a", "b", "c", "d"].map((name) => ({ name, points }));
  const svg = chart(pictureOf({ ...series, lines }), "c");
  const at = lines.map(({ name }) => Number(new RegExp(`y="([\\d.]+)">${name}<`).exec(svg)?.[1]));
  const apart = at.slice(1).map((y, i) => y - at[i]!);
  expect(apart).toEqual([16, 16, 16]);
  expect(Math.min(...at)).toBeGreaterThan(30);
  expect(Math.max(...at)).toBeLessThan(330);
});

const answered = {
  ...inventEvidence("dead-inventory"),
  series: [],
  tables: [
    {
      id: "answers",
      title: "Told",
      columns: [{ name: "phase" }, { name: "answer" }, { name: "orders" }],
      rows: [
        ["alive", "ok 201", 200],
        ["dead", "failed 503 inventory_unreachable", 190],
        ["dead", "unknown timeout", 10],
      ],
    },
    {
      id: "latency",
      title: "Latency",
      columns: [{ name: "load" }, { name: "p50", unit: "ms" }],
      rows: [["dead", 4.887]],
    },
  ],
};

test("what clients were told is a bar for each phase, and what is too narrow for its words has them above", () => {
  const [told] = picturesOf(answered);
  expect(told?.finding).toStartWith("Inventory dead: 101 of 100 orders refused");
  const svg = chart(told!, "c");
  expect(svg.match(/class="(ok|failed|unknown)"/g)).toEqual([
    'class="ok"',
    'class="failed"',
    'class="unknown"',
  ]);
  expect(svg).toContain(">190 × 503 inventory_unreachable</text>");
  expect(svg).toContain(">10 × no answer: timeout, median 4.89 ms</text>");
  // A phone has no room for that beside the phase's name.
  expect(chart(told!, "c", "small")).toContain('x="12" y="118">10 × no answer: timeout, median');
  // The second phase, in which customers were not served.
  expect([...svg.matchAll(/class="shade" x="0" y="(\d+)"/g)].map(([, y]) => y)).toEqual(["58"]);
  expect(describe(told!)).toBe(
    "alive: 200 orders 201. dead: 190 orders 503 inventory_unreachable, 10 orders no answer: timeout, median 4.89 ms.",
  );
});
