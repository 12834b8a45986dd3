import { expect, test } from "bun:test";
import { printable, printableJson } from "./printable.ts";

/**
 * Escape, C1's CSI, delete, right-to-left override, isolate, zero-width space, line separator, a
 * lone surrogate, a tag.
 */
const UNSAFE = "\x1b[2J\x9b1m\x7f\u202e\u2066\u200b\u2028\ud800\u{e0041}";

test("nothing that steers a terminal is left, and what is written in any script is", () => {
  expect(printable(`a\r\n\tb${UNSAFE}`, "\n\t")).toBe(
    "a\\u{d}\n\tb\\u{1b}[2J\\u{9b}1m\\u{7f}\\u{202e}\\u{2066}\\u{200b}\\u{2028}\\u{d800}\\u{e0041}",
  );
  expect(printable("Bäckerei 食堂 مطعم 🍔")).toBe("Bäckerei 食堂 مطعم 🍔");
});

test("as JSON it is shown by its code, and parses to the same", () => {
  const value = { [UNSAFE]: [UNSAFE, "🍔\n"] };
  const text = printableJson(value, 2);
  expect(text).not.toMatch(/[^\P{C}\n]|[\u2028\u2029]/u);
  expect(JSON.parse(text)).toEqual(value);
});
