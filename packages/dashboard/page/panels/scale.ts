// The common time scale of several timelines: each begins at its order's first moment, and waits in
// which nothing happens are drawn shorter.
import type { Timeline } from "../../contract/answers.ts";

/** A wait of more than this share of the whole is drawn shorter. */
const LONG = 0.3;
/** As this share of the width. */
const SHORT = 0.14;

export interface Scale {
  lengthMs: number;
  /** The shortened waits: where they are drawn, 0 to 1, and what they stand for. */
  gaps: { at: number; width: number; ms: number }[];
  /** The place of a moment, from 0 to 1. */
  place(sinceStartMs: number): number;
  startOf(line: Timeline): number;
  /** The lengths of time between two neighbouring moments, in order. */
  pieces: { from: number; to: number }[];
}

/** In slow motion, what lies between two moments takes at most so long. */
const MOST_PLAYED_MS = 1_000;

/** How far a recording has come when it has been played for so long, `slower` times slower; undefined after its end. */
export function playedTo(
  { pieces }: Pick<Scale, "pieces">,
  slower: number,
  playedMs: number,
): number | undefined {
  let left = playedMs;
  for (const { from, to } of pieces) {
    const takes = Math.min((to - from) * slower, MOST_PLAYED_MS);
    if (left < takes) return from + ((to - from) * left) / takes;
    left -= takes;
  }
  return undefined;
}

export function layOut(lines: readonly Timeline[]): Scale {
  const startOf = ({ marks, stretches }: Timeline) =>
    Math.min(...marks.map(({ at_ms }) => at_ms), ...stretches.map(({ from_ms }) => from_ms));
  const moments = lines.flatMap((line) => {
    const start = startOf(line);
    return [
      ...line.marks.map(({ at_ms }) => at_ms),
      ...line.stretches.flatMap(({ from_ms, to_ms }) => [from_ms, to_ms ?? from_ms]),
    ].map((at) => at - start);
  });
  const sorted = [...new Set([0, ...moments])].toSorted((a, b) => a - b);
  const lengthMs = Math.max(1, sorted.at(-1) ?? 1);
  // A piecewise linear scale: each stretch between two moments has its drawn width.
  const pieces = sorted.slice(1).map((to, n) => {
    const from = sorted[n]!;
    const isLong = (to - from) / lengthMs > LONG && to - from > 200;
    return { from, to, isLong };
  });
  const longs = pieces.filter(({ isLong }) => isLong);
  // Where there is nothing else, there is nothing to make room for.
  const rest = pieces
    .filter(({ isLong }) => !isLong)
    .reduce((sum, { from, to }) => sum + to - from, 0);
  const room = rest === 0 ? 0 : 1 - longs.length * SHORT;
  let at = 0;
  const placed = pieces.map((piece) => {
    const { from, isLong, to } = piece;
    const width = isLong ? (rest === 0 ? 1 / longs.length : SHORT) : ((to - from) / rest) * room;
    const one = { ...piece, at, width };
    at += width;
    return one;
  });
  return {
    lengthMs,
    startOf,
    pieces,
    gaps: placed
      .filter(({ isLong }) => isLong)
      .map(({ at: left, from, to, width }) => ({ at: left, width, ms: to - from })),
    place(sinceStartMs) {
      const piece = placed.find(({ to }) => sinceStartMs <= to) ?? placed.at(-1);
      if (piece === undefined) return 0;
      const share = (sinceStartMs - piece.from) / (piece.to - piece.from || 1);
      return Math.max(0, Math.min(1, piece.at + share * piece.width));
    },
  };
}
