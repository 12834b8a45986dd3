import { expect, test } from "bun:test";
import { inventAll, inventEvidence } from "../fixture.ts";
import { toHtml } from "../render/html.ts";
import { changesBetween, differences } from "./changes.ts";
import { comparePage } from "./page.ts";

const before = [inventEvidence("backlog-drain")];

/** The figures that changed when these are other than before. */
function changedBy(figures: Record<string, number>): string[] {
  const after = before.map((one) => ({ ...one, figures: { ...one.figures, ...figures } }));
  return changesBetween(before, after)
    .filter(({ changed }) => changed)
    .map(({ figure }) => figure);
}

test("a count has no noise; a time has, and needs a difference that a clock can tell", () => {
  expect(changedBy({})).toEqual([]);
  expect(changedBy({ lost: 1, failed: 115 })).toEqual(["failed", "lost"]);
  expect(changedBy({ drain_s: 7.4 * 1.9, drain_rate_per_s: 110 * 1.9 })).toEqual([]);
  expect(changedBy({ drain_s: 7.4 * 2.1, drain_rate_per_s: 110 / 2.1 })).toEqual([
    "drain_s",
    "drain_rate_per_s",
  ]);
  // From 2.31 ms: more than twice, and more than a millisecond.
  expect(changedBy({ answer_p50_ms: 1.1 })).toEqual(["answer_p50_ms"]);
  before[0]!.figures["answer_p50_ms"] = 0.4;
  expect(changedBy({ answer_p50_ms: 1.1 })).toEqual([]);
});

test("what else differs is said, since it may be why", () => {
  const after = before.map((one) => ({ ...one, parameters: { orders: 10 }, seed: 7 }));
  expect(differences(before, after)).toEqual([
    'backlog-drain: parameters {"orders":1000,"faults":true}, then {"orders":10}',
    "backlog-drain: seed 42, then 7",
  ]);
});

test("the page has both runs' charts, and ids that are there once", () => {
  const pair = { names: ["a", "b"] as [string, string], before: inventAll(), after: inventAll() };
  const html = toHtml("Two runs", "", comparePage(pair));
  expect(html).toContain("0 of ");
  expect(html.match(/<svg class="chart"/g)).toHaveLength(26);
  const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  expect(ids.length).toBe(new Set(ids).size);
});
