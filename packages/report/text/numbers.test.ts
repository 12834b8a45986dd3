import { expect, test } from "bun:test";
import { numbersTable } from "./numbers.ts";

test("of many samples it shows some, the first, the last and the peak among them", () => {
  const points = Array.from({ length: 500 }, (_, i): [number, number] => [i, i === 333 ? 9 : 1]);
  const table = numbersTable({
    id: "s",
    title: "Depth",
    x: { name: "time", unit: "s" },
    y: { name: "depth", unit: "messages" },
    lines: [
      { name: "a", points },
      { name: "b", points: [[0, 5]] },
    ],
    shaded: [],
  });
  expect(table.rows.length).toBe(21);
  expect([table.rows[0], table.rows.at(-1)]).toEqual([
    ["0", "1", "5"],
    ["499", "1", "–"],
  ]);
  expect(table.rows).toContainEqual(["333", "9", "–"]);
  expect(table.note).toStartWith("21 of 500 samples");
});
