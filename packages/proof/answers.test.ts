import { expect, test } from "bun:test";
import { models } from "@lab/evidence/experiments";
import type { Operation } from "@lab/lab/load/history";
import { illegalAnswers } from "./answers.ts";

function operation(more: Partial<Operation>): Operation {
  const request = { user_id: "u1", items: [{ sku: "taco", qty: 1 }] };
  const head = { id: 1, kind: "place_order", started_us: 0, ended_us: 1, request };
  return { ...head, outcome: "failed", ...more };
}

test("a refused connection and no answer are legal everywhere, a bug's answer nowhere", () => {
  const operations = [
    operation({ code: "connection_refused" }),
    operation({ outcome: "unknown", code: "timeout" }),
    operation({ status: 500, code: "internal_error" }),
    operation({ status: 500, code: "internal_error" }),
  ];
  for (const { model } of models) {
    expect(illegalAnswers(model, operations)).toEqual(["2 failed 500 internal_error"]);
  }
});

test("only who waits for Inventory may be refused because of it", () => {
  const operations = [
    operation({ outcome: "ok", status: 202 }),
    operation({ status: 503, code: "inventory_unreachable" }),
  ];
  expect(illegalAnswers("sync-rest", operations)).toEqual(["1 ok 202"]);
  expect(illegalAnswers("async-rabbitmq", operations)).toEqual([
    "1 failed 503 inventory_unreachable",
  ]);
});

test("what isn't on the menu is refused, what is on it is not", () => {
  const refused = { status: 409, code: "unknown_item" };
  const offMenu = { user_id: "u1", items: [{ sku: "lobster", qty: 1 }] };
  const operations = [operation(refused), operation({ ...refused, request: offMenu })];
  expect(illegalAnswers("sync-rest", operations)).toEqual(["1 failed 409 unknown_item"]);
});

test("an order in progress is news only to who asks again under a key", () => {
  const busy = { status: 409, code: "order_in_progress" };
  const operations = [operation(busy), operation({ ...busy, key: "k" })];
  expect(illegalAnswers("sync-rest", operations)).toEqual(["1 failed 409 order_in_progress"]);
});
