import { expect, test } from "bun:test";
import type { ModelFrame, ProcessState } from "../contract/frame.ts";
import { Bands } from "./bands.ts";

function frame(state: ProcessState, faults: Record<string, number> = {}): ModelFrame {
  const service = {
    name: "inventory-service",
    state,
    faults,
  } as unknown as ModelFrame["services"][0];
  return {
    model: "sync-rest",
    services: [service],
    network: null,
    without: [],
  } as unknown as ModelFrame;
}

test("what is broken has a band from when it was first seen until it is whole; a restart has none", () => {
  const bands = new Bands();
  const look = (ms: number, state: ProcessState, faults = {}) =>
    bands
      .look([frame(state, faults)], ms)
      .map(({ from_ms, label, to_ms }) => [label, from_ms, to_ms]);
  expect(look(0, "killed")).toEqual([]);
  expect(look(250, "up")).toEqual([]);
  expect(look(1_000, "killed")).toEqual([]);
  const dead = ["A: inventory killed", 1_000];
  expect(look(2_000, "killed")).toEqual([[...dead, null]]);
  expect(look(3_000, "recovering")).toEqual([[...dead, 3_000]]);
  expect(look(4_000, "up", { delay_ms: 2_000 })).toEqual([[...dead, 3_000]]);
  const slow = ["A: inventory 2 s slower", 4_000, null];
  expect(look(5_000, "up", { delay_ms: 2_000 })).toEqual([[...dead, 3_000], slow]);
});
