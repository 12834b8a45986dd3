import { expect, test } from "bun:test";
import { createLog } from "@lab/runtime/log";
import { logOnChange } from "./problems.ts";

const address = new URL("amqp://lab:secret@127.0.0.1:1");
const problem = (message: string) =>
  logOnChange(createLog("test", "error")).problem(new Error(message), address);

test("what RabbitMQ will refuse again is a problem, in its words", () => {
  const refusal = (words: string) =>
    `Channel closed by server: 406 (PRECONDITION-FAILED) with message "${words}"`;
  expect(problem(refusal("PRECONDITION_FAILED - inequivalent arg"))).toBe(
    "RabbitMQ says PRECONDITION_FAILED - inequivalent arg",
  );
  // A new channel is not affected.
  expect(problem(refusal("PRECONDITION_FAILED - unknown delivery tag 2"))).toBe(undefined);
  expect(problem("connect ECONNREFUSED 127.0.0.1:1")).toBe(undefined);
});
