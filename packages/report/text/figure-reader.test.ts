import { expect, test } from "bun:test";
import { Figures, NOT_RUN } from "./figure-reader.ts";
import { FIGURES } from "@lab/evidence/figures";
import { inventAll, inventEvidence } from "../fixture.ts";

test("a text is told around its figures", () => {
  const figures = new Figures([inventEvidence("slow-inventory")]);
  expect(
    figures.tell(
      ["slow-inventory/delay_ms", "slow-inventory/slow_p50_ms"],
      (delay, slow) => `${String(delay)}: ${String(slow)}`,
    ),
  ).toBe("2,000 ms: 2,008 ms");
});

test("nothing is told when a figure is missing, of the wrong kind, or its experiment did not run", () => {
  const evidence = inventEvidence("slow-inventory");
  delete evidence.figures["delay_ms"];
  evidence.figures["slow_p50_ms"] = "2 s";
  evidence.figures["slow_min_ms"] = null;
  const figures = new Figures([evidence]);
  expect(
    figures.tell(
      [
        "slow-inventory/delay_ms",
        "slow-inventory/slow_p50_ms",
        "slow-inventory/slow_min_ms",
        "slow-inventory/orders",
      ],
      () => "made up",
    ),
  ).toBe("_Not measured: `delay_ms`, `slow_p50_ms`, `slow_min_ms` of slow-inventory._");
  const keys = ["slow-inventory/orders", "replay/replay_s"] as const;
  expect(figures.tell([...keys], () => "made up")).toBe(NOT_RUN);
  expect(figures.missing()).toEqual([
    "slow-inventory: no figure delay_ms, slow_min_ms, slow_p50_ms",
  ]);
});

test("the text of a digest can't be taken for a number", () => {
  const figures = new Figures([inventEvidence("replay")]);
  expect(() => figures.find("replay/digest_before")?.number).toThrow("not a number");
});

test("names carry their unit last, and only digests and yes/no aren't numbers", () => {
  expect(new Figures(inventAll()).missing()).toEqual([]);
  for (const names of Object.values(FIGURES)) {
    for (const name of Object.keys(names)) expect(name).toMatch(/^[a-z0-9_]+$/);
  }
});
