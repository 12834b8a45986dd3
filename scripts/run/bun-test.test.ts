import { expect, test } from "bun:test";
import { countTests } from "./bun-test.ts";

const output = (text: string) => text.split("\n");

test("the sums of a run", () => {
  const lines = output(`
sync-rest/tests/slow-inventory.test.ts:
(pass) slow-inventory [2.1s]
(fail) other [1.00ms]

 11 pass
 1 skip
 3 fail
 1 error
 15 expect() calls
Ran 15 tests across 2 files. [4.00ms]`);
  expect(countTests(lines, 1)).toEqual({ passed: 11, failed: 3 });
});

test("sums that a test itself printed don't count", () => {
  const lines = output(" 7 fail\n(pass) a\n\n 1 pass\n 0 fail");
  expect(countTests(lines, 0)).toEqual({ passed: 1, failed: 0 });
});

test("a run that ended before its sums has failed", () => {
  expect(countTests(output("(pass) a"), 137)).toEqual({ passed: 0, failed: 1 });
  expect(countTests([], 0)).toEqual({ passed: 0, failed: 0 });
});

test("all passed, and still an exit code: something else went wrong", () => {
  expect(countTests(output(" 2 pass\n 0 fail"), 1)).toEqual({
    passed: 2,
    failed: 1,
  });
});
