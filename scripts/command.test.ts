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
};

test("words and options, in any order", () => {
  expect(parseInput(["a", "--json", "--from=x=y", "b", "--", "--c"], options)).toEqual({
    words: ["a", "b", "--c"],
    options: { json: true, from: "x=y" },
  });
  expect(parseInput(["--from", "x"], options).options).toEqual({ from: "x" });
});

test.each([
  [["--jsno"], "unknown option --jsno: did you mean --json?"],
  [["--json=1"], "--json takes no value"],
  [["--from"], "--from needs a value"],
  [["--toString"], "unknown option --toString: there is"],
])("%p is a usage error", (args, message) => {
  expect(() => parseInput(args, options)).toThrow(message);
});
