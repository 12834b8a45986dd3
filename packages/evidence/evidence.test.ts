import { expect, test } from "bun:test";
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Evidence,
  newestRun,
  readRun,
  storableCopy,
  Table,
  validated,
  writeEvidence,
  writeRunInfo,
} from "./evidence.ts";

const machine = { cpu: "abacus", cores: 2, memory_gib: 4, os: "Linux" };

const evidence: Evidence = {
  experiment: "slow-inventory",
  model: "sync-rest",
  question: "q",
  method: "m",
  disproof: "d",
  requirements: ["A3"],
  started_at: "2025-01-02T03:04:05.000Z",
  duration_s: 1.5,
  machine,
  versions: { bun: "1.4.5" },
  brokers: "none",
  seed: 1,
  parameters: { delay_ms: 2000 },
  tables: [
    {
      id: "t",
      title: "T",
      columns: [{ name: "a", unit: "ms" }, { name: "b" }],
      rows: [[1, null]],
    },
  ],
  series: [],
  excerpts: [],
  figures: { p50_ms: 2001.5 },
  checks: [{ label: "all 201", held: true, expected: 3, actual: 3 }],
  held: true,
};

async function inFolder(use: (folder: string) => Promise<void>) {
  const folder = mkdtempSync(join(tmpdir(), "lab-evidence-"));
  try {
    await use(folder);
  } finally {
    rmSync(folder, { recursive: true });
  }
}

test("a run is read as it was written, sorted by start", () =>
  inFolder(async (runs) => {
    const run = join(runs, "20250102");
    const later = { ...evidence, experiment: "a", started_at: "2025-01-03" };
    const info = { id: "20250102", started_at: "x", machine, versions: {} };
    await writeRunInfo(run, info);
    await writeEvidence(run, later);
    const file = await writeEvidence(run, evidence);
    expect(file).toBe(join(run, "sync-rest", "slow-inventory.json"));
    // No partial file remains.
    expect(readdirSync(join(run, "sync-rest")).sort()).toEqual(["a.json", "slow-inventory.json"]);
    expect(await readRun(run)).toEqual({ info, evidence: [evidence, later] });
  }));

test("the newest run is the last folder that has a run.json", () =>
  inFolder(async (runs) => {
    expect(await newestRun(join(runs, "none"))).toBeUndefined();
    const info = { id: "i", started_at: "x", machine, versions: {} };
    await writeRunInfo(join(runs, "1"), info);
    await writeRunInfo(join(runs, "2"), info);
    await writeEvidence(join(runs, "3"), evidence);
    expect(await newestRun(runs)).toBe(join(runs, "2"));
  }));

test("evidence that isn't valid is not written, and the error says where", () =>
  inFolder(async (run) => {
    const bad = { ...evidence, seed: 0.5, figures: { p50_ms: Number.NaN } };
    expect(writeEvidence(run, bad)).rejects.toThrow(/figures\/p50_ms(.|\n)*/);
    expect(writeEvidence(run, bad)).rejects.toThrow("/seed: expected integer");
    const table = { ...(evidence.tables[0] as Table), rows: [[1]] };
    expect(writeEvidence(run, { ...evidence, tables: [table] })).rejects.toThrow(
      "/rows/0: 1 cells for 2 columns",
    );
    expect(readdirSync(run)).toEqual([]);
  }));

test("a table's cells must be scalars", () => {
  const table = { id: "t", title: "T", columns: [{ name: "a" }], rows: [[{}]] };
  expect(() => validated("table t", Table, table)).toThrow("/rows/0/0");
});

test("a file that is no evidence is named", () =>
  inFolder(async (run) => {
    await writeRunInfo(run, {
      id: "i",
      started_at: "x",
      machine,
      versions: {},
    });
    const file = await writeEvidence(run, evidence);
    writeFileSync(file, "{");
    expect(readRun(run)).rejects.toThrow(`${file} is not JSON`);
    writeFileSync(file, "{}");
    expect(readRun(run)).rejects.toThrow(`${file} is not valid`);
  }));

test("what a check compared becomes JSON without losing what it says", () => {
  const value = {
    missing: undefined,
    big: 5n,
    map: new Map([["a", 1]]),
    set: new Set([1]),
    error: new TypeError("no"),
  };
  expect(storableCopy(value)).toEqual({
    missing: null,
    big: 5,
    map: { a: 1 },
    set: [1],
    error: "TypeError: no",
  });
  expect(storableCopy(undefined)).toBeNull();
});
