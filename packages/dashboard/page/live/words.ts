// Numbers and states as words.
import type { ProcessState } from "../../contract/frame.ts";

/** `12 ms`, `1.3 s`, `–` for nothing. */
export function ms(value: number | null | undefined): string {
  if (value === null || value === undefined) return "–";
  if (value < 10) return `${value.toFixed(1)} ms`;
  if (value < 1_000) return `${Math.round(value)} ms`;
  return `${(value / 1_000).toFixed(value < 10_000 ? 2 : 1)} s`;
}

export function number(value: number | null | undefined): string {
  return value === null || value === undefined ? "–" : value.toLocaleString("en-US");
}

export function percent(value: number | null): string {
  return value === null ? "–" : `${(value * 100).toFixed(value < 0.1 && value > 0 ? 1 : 0)} %`;
}

/** `now`, `3 s old`. */
export function age(value: number | null): string {
  if (value === null) return "not yet seen";
  return value < 1_500 ? "now" : `${Math.round(value / 1_000)} s old`;
}

/** A sign beside the word, so that colour alone says nothing. */
export const SIGNS: Record<ProcessState, string> = {
  absent: "○",
  up: "●",
  recovering: "↻",
  paused: "❚❚",
  killed: "✕",
};

export const STATE_WORDS: Record<ProcessState, string> = {
  absent: "not started",
  up: "up",
  recovering: "recovering",
  paused: "paused",
  killed: "killed",
};

/** `Inventory` for inventory-consumer. */
export function roleOf(service: string): string {
  const role = service.split("-")[0]!;
  return role[0]!.toUpperCase() + role.slice(1);
}

/** "1 time", "12 times" */
export function times(n: number): string {
  return `${number(n)} ${n === 1 ? "time" : "times"}`;
}
