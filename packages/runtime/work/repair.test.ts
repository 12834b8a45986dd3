import { expect, test } from "bun:test";
import { createLog } from "../log.ts";
import { type Attempt, Repair } from "./repair.ts";

const log = createLog("test", "error");

/** Repairs the given work until nothing is pending but `rest`; returns the attempts in order. */
async function repair(
  ids: string[],
  become: (id: string, attempts: readonly string[]) => Attempt,
  rest: number,
): Promise<string[]> {
  const owed = new Set(ids);
  const attempts: string[] = [];
  const finished = Promise.withResolvers<void>();
  const work = new Repair(log, 5, {
    owed: (limit, after) => [...owed].filter((id) => id > after).slice(0, limit),
    async attempt(id) {
      attempts.push(id);
      await Bun.sleep(1);
      const became = become(id, attempts);
      if (became === "done") owed.delete(id);
      if (owed.size <= rest) finished.resolve();
      return became;
    },
  });
  await finished.promise;
  await work.stop();
  return attempts;
}

const numbered = (count: number) =>
  Array.from({ length: count }, (_, n) => String(n).padStart(4, "0"));

test("pieces of work that are refused hold up no other, and are tried less and less", async () => {
  // More than a page of failing items, before all others.
  const bad = new Set(numbered(150));
  const attempts = await repair(numbered(400), (id) => (bad.has(id) ? "refused" : "done"), 150);
  const tries = Map.groupBy(attempts, (id) => id);
  expect([...tries.keys()].sort()).toEqual(numbered(400));
  expect([...tries].filter(([id, { length }]) => length > 1 && !bad.has(id))).toEqual([]);
});

test("one piece of work that is never answered holds up no other", async () => {
  const attempts = await repair(numbered(20), (id) => (id === "0000" ? "no_answer" : "done"), 1);
  expect(new Set(attempts).size).toBe(20);
});

test("a neighbour that isn't there is asked for one piece of work at a time, and then for all", async () => {
  const attempts = await repair(
    numbered(50),
    (_, { length }) => (length <= 5 ? "unreachable" : "done"),
    0,
  );
  expect(attempts.slice(0, 6)).toEqual(Array.from({ length: 6 }, () => "0000"));
  expect(attempts.length).toBe(55);
});
