import { expect, test } from "bun:test";
import { portionsOf } from "./client.ts";

test("what is sent at once is what a partition takes, and nothing is left out or moved", () => {
  // Orders of 20 items with long names, as many as an outbox sends at once.
  const messages = Array.from({ length: 1_000 }, (_, n) => ({
    key: "main",
    value: `${n}${"x".repeat(2_500)}`,
  }));
  const portions = [...portionsOf(messages)];
  expect(portions.flat()).toEqual(messages);
  for (const portion of portions) {
    expect(Buffer.byteLength(JSON.stringify(portion))).toBeLessThan(1024 * 1024);
  }
  expect([...portionsOf([])]).toEqual([]);
  expect([...portionsOf([{ value: Buffer.alloc(2_000_000) }])]).toHaveLength(1);
});
