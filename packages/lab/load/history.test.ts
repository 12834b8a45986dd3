import { expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { History, type Operation } from "./history.ts";

test("a history holds every operation, in memory and in its file", async () => {
  const folder = mkdtempSync(join(tmpdir(), "lab-history-"));
  try {
    const file = join(folder, "deep", "history.jsonl");
    const history = new History(file);
    await history.record("place_order", { sku: "burger" }, async () => ({
      kind: "ok",
      status: 201,
      order_id: "o1",
      body: "not kept",
    }));
    const broken = history.record("place_order", 2, async () => {
      throw new Error("bug");
    });
    expect(broken).rejects.toThrow("bug");
    await broken.catch(() => {});
    const hung = Promise.withResolvers<{ kind: "ok" }>();
    const late = history.record("place_order", 3, () => hung.promise);
    await history.close();
    // Too late: the file already has it as unknown.
    hung.resolve({ kind: "ok" });
    await late;

    const lines = readFileSync(file, "utf8").trimEnd().split("\n");
    const inFile = lines.map((line) => JSON.parse(line) as Operation);
    expect(inFile).toEqual(history.operations);
    for (const { started_us, ended_us } of inFile) {
      expect(ended_us).toBeGreaterThanOrEqual(started_us);
    }
    const times = { started_us: 0, ended_us: 0 };
    expect(inFile.map((one) => ({ ...one, ...times }))).toEqual([
      {
        id: 1,
        kind: "place_order",
        ...times,
        outcome: "ok",
        status: 201,
        order_id: "o1",
        request: { sku: "burger" },
      },
      {
        id: 2,
        kind: "place_order",
        ...times,
        outcome: "unknown",
        code: "Error: bug",
        request: 2,
      },
      {
        id: 3,
        kind: "place_order",
        ...times,
        outcome: "unknown",
        code: "not_ended",
        request: 3,
      },
    ]);
    expect(history.record("place_order", 4, async () => ({ kind: "ok" }))).rejects.toThrow(
      "the history is closed",
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});
