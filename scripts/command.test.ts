import { expect, test } from "bun:test";
import { nearestWord, type Option, parseInput } from "./command.ts";

const commands = ["up", "down", "status", "doctor", "run", "test", "report"];

test.each([
  ["stauts", "status"],
  ["doc", "doctor"],
  ["rnu", "run"],
  ["dwon", "down"],
  ["UP", "up"],
  ["reports", "report"],
  ["kangaroo", undefined],
  ["xy", undefined],
  ["", undefined],
])("the nearest word to %p is %p", (word, nearest) => {
  expect(nearestWord(word, commands)).toBe(nearest as string);
});

const options: Record<string, Option> = {
  json: { type: "boolean", summary: "" },
  from: { type: "string", summary: "" },
  seed: { type: "number", least: 0, most: 9, summary: "" },
  minutes: { type: "number", least: 0.5, most: 9, fraction: true, summary: "" },
};

test("words and options, in any order", () => {
  expect(parseInput(["a", "--json", "--from=x=y", "b", "--", "--c"], options)).toEqual({
    words: ["a", "b", "--c"],
    options: { json: true, from: "x=y" },
  });
  expect(parseInput(["--from", "x"], options).options).toEqual({ from: "x" });
  const numbers = ["--seed", "0", "--minutes=0.5"];
  expect(parseInput(numbers, options).options).toEqual({ seed: 0, minutes: 0.5 });
});

test.each([
  [["--jsno"], "unknown option '--jsno'\n(Did you mean --json?)"],
  [["--json=1"], "unknown option '--json=1'"],
  [["--from"], "option '--from <text>' argument missing"],
  ...["", " ", "abc", "NaN", "Infinity", "-1", "1.5", "10", "1e9", "9999999999999999"].map(
    (text): [string[], string] => [[`--seed=${text}`], "It is a whole number from 0 to 9."],
  ),
  [["--minutes", "0"], "It is a number from 0.5 to 9."],
  [["--minutes", "-1"], "option '--minutes <number>' argument '-1' is invalid. It is a number"],
  [["--toString"], "unknown option '--toString'"],
])("%p is a usage error", (args, message) => {
  expect(() => parseInput(args, options)).toThrow(message);
});
