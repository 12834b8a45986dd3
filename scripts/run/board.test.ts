import { expect, test } from "bun:test";
import { Board } from "./board.ts";
import { paintResult } from "./paint.ts";
import type { TestFile } from "./test-files.ts";
import { TimeLeft } from "./time-left.ts";

function screen(isTTY: boolean) {
  const written: string[] = [];
  return { isTTY, columns: 60, write: (text: string) => void written.push(text), written };
}

/** What a terminal shows after those writes: text, and "up n lines, erase below". */
function shown(written: string[]): string[] {
  const [first = "", ...redrawn] = written.join("").split("\x1b[");
  const lines = first.split("\n").slice(0, -1);
  for (const part of redrawn) {
    const up = /^(\d+)A$/.exec(part)?.[1];
    if (up !== undefined) lines.splice(lines.length - Number(up));
    else lines.push(...part.replace(/^J/, "").split("\n").slice(0, -1));
  }
  return lines;
}

function play(board: Board): void {
  board.begin("a/one", "1 of 2");
  board.line("a/one", "   0.0 s  a/one: the first phase");
  board.line("a/one", "   0.1 s  a/one: live: 10 orders");
  board.begin("b/two", "2 of 2");
  board.line("b/two", "error: \x1b[31mexpected\x1b[0m 1");
  board.line("a/one", "(pass) one [3ms]");
}

test("on a terminal each file that runs has one line, and what went wrong stays above", () => {
  const tty = screen(true);
  const board = new Board(() => 63, tty);
  play(board);
  expect(shown(tty.written)).toEqual([
    "b/two: error: \\u{1b}[31mexpected\\u{1b}[0m 1",
    "1 of 2  a/one  0 s  10 orders  the first phase",
    "2 of 2  b/two  0 s",
    "about 1 min 5 s left",
  ]);
  board.end("a/one", "held  a/one");
  board.end("b/two", "held  b/two");
  expect(shown(tty.written).slice(1)).toEqual(["held  a/one", "held  b/two"]);
  expect(board.env).toEqual({ LAB_LIVE_S: "1" });
});

test("elsewhere it is line after line, without anything that moves a cursor", () => {
  const pipe = screen(false);
  const board = new Board(() => undefined, pipe);
  play(board);
  board.end("a/one", "held  a/one");
  expect(pipe.written.join("")).toBe(
    [
      "\n── 1 of 2: a/one",
      "   0.0 s  a/one: the first phase",
      "   0.1 s  a/one: live: 10 orders",
      "\n── 2 of 2: b/two",
      "b/two: error: \\u{1b}[31mexpected\\u{1b}[0m 1",
      "a/one: (pass) one [3ms]",
      "",
    ].join("\n"),
  );
  expect(board.env).toEqual({});
});

test("a line that is wider than the terminal is cut, so that it can be erased", () => {
  const tty = screen(true);
  const board = new Board(() => undefined, tty);
  board.begin("a/one", "1 of 1");
  board.phase("a/one", "x".repeat(100));
  expect(shown(tty.written).map(({ length }) => length)).toEqual([59]);
  board.end("a/one", "held");
});

test("the time left falls with what has ended, and nothing is guessed", () => {
  const files = ["one", "two"].map((name) => ({ name }) as TestFile);
  const left = new TimeLeft(files, ({ name }) => (name === "one" ? 8 : 18));
  expect(left.seconds()).toBe(30);
  left.end(files[0]!);
  expect(left.seconds()).toBe(20);
  expect(new TimeLeft(files, () => Number.NaN).seconds()).toBeUndefined();
});

test("colours are for terminals alone, and NO_COLOR forbids them", () => {
  const before = { ...process.env };
  delete process.env["NO_COLOR"];
  process.env["TERM"] = "xterm";
  expect(paintResult(true, { isTTY: true })).toContain("\x1b[32m");
  expect(paintResult(false, { isTTY: false })).toBe("FELL SHORT");
  process.env["NO_COLOR"] = "1";
  expect(paintResult(true, { isTTY: true })).toBe("held      ");
  process.env = before;
});
