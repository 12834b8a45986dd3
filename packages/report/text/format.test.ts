import { expect, test } from "bun:test";
import {
  columnDecimals,
  escapeMarkdown,
  formatDuration,
  formatFigure,
  formatNumber,
} from "./format.ts";

test("numbers have three digits and separators", () => {
  expect([0, 0.1234, 2.345, 23.45, 234.5, 12_345, 12_345.6].map(formatNumber)).toEqual([
    "0",
    "0.123",
    "2.35",
    "23.5",
    "235",
    "12,345",
    "12,346",
  ]);
});

test("a figure's unit is the end of its name", () => {
  const figures: [string, string | number | boolean, string][] = [
    ["slow_p50_ms", 2_003.4, "2,003 ms"],
    ["drain_rate_per_s", 812.3, "812/s"],
    ["processing_rate_after_per_min", 61_000, "61,000/min"],
    ["drain_s", 7.4, "7.40 s"],
    ["fail_rate", 0.05, "5 %"],
    ["metrics_failure_rate", 0.0487, "4.87 %"],
    ["held_after_units", 0, "0 units"],
    ["accepted", 3_000, "3,000"],
    ["digest_before", "0123456789abcdef", "`0123456789ab…`"],
    ["live_reset_refused", true, "yes"],
  ];
  for (const [name, value, text] of figures) {
    expect(formatFigure(name, value)).toBe(text);
  }
});

test("a column's numbers share their decimals", () => {
  expect(columnDecimals([1, 20_000])).toBe(0);
  expect(columnDecimals([0.912, 2.5])).toBe(3);
  expect(columnDecimals([0.912, 25])).toBe(2);
  expect(columnDecimals([0.912, 2_004.75])).toBe(1);
});

test("durations are for people", () => {
  expect([0.94, 12.34, 59.99, 185].map(formatDuration)).toEqual([
    "0.940 s",
    "12.3 s",
    "60.0 s",
    "3 min 5 s",
  ]);
});

test("text stands for itself in Markdown, code stays code", () => {
  const text = "a_b *c* <script> [x](y) `d_e|*` & ~~z~~";
  const html = Bun.markdown.html(escapeMarkdown(text));
  expect(html).toBe("<p>a_b *c* &lt;script&gt; [x](y) <code>d_e|*</code> &amp; ~~z~~</p>\n");
});
