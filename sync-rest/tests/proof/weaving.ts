/** Where the crash points and the protections of the synchronous model are in its code. */
import { type CrashSites, STOP_STEP } from "@lab/proof/weaving/crash-sites";
import { only, type Protections } from "@lab/proof/weaving/protections";

const inEndings = (at: string) => ({ file: "endings.ts", at });

export const CRASH_SITES: Record<string, CrashSites> = {
  "order-service": {
    "placed-before-commit": "inFlight.add(placedId); <gap> return accepted;",
    "stored-before-reserve": "<gap> const reserved = await client.reserve(order, traceparent);",
    "refused-before-commit": "<gap> await giveUp(shop, order_id, reserved);",
    "failed-before-answer": "await giveUp(shop, order_id, reserved); <gap>",
    "reserved-before-send": "<gap> const told = await client.send(order, traceparent);",
    "told-before-commit": "<gap> await finish(shop, order_id, reserved.at, told);",
    "stored-before-answer": "await finish(shop, order_id, reserved.at, told); <gap>",
    "released-before-commit": inEndings("<gap> await store.commit(() => releases.done(orderId));"),
    "asked-again-before-commit": inEndings('<gap> if (reserved.kind === "reserved") {'),
    "told-again-before-commit": inEndings("<gap> await finish(shop, orderId, reserved.at, told);"),
    "told-later-before-commit": inEndings(
      "<gap> await finish(shop, orderId, new Date().toISOString(), told);",
    ),
    "intake-ended": STOP_STEP,
    "repairs-ended": STOP_STEP,
  },
  "inventory-service": {
    "opened-before-listening": "<gap> const stock = {",
    "decided-before-commit": {
      passage: "store.commit(() => inventory.reserve(order_id, kitchen, items))",
      at: "store.commit(() => { const first = inventory.reserve(order_id, kitchen, items); <gap> return first; })",
    },
    "decided-before-answer": '<gap> log.debug("stock_decided"',
    "released-before-commit": {
      passage: "store.commit(() => inventory.release(order_id))",
      at: "store.commit(() => { inventory.release(order_id); <gap> })",
    },
    "released-before-answer": '<gap> log.debug("stock_released"',
    "intake-ended": STOP_STEP,
  },
  "notification-service": {
    "told-before-commit": {
      passage: "store.commit(() => notifications.send(order))",
      at: "store.commit(() => { const result = notifications.send(order); <gap> return result; })",
    },
    "told-before-answer": '<gap> if (told.kind === "reused") {',
    "intake-ended": STOP_STEP,
  },
};

export const PROTECTIONS: Protections = {
  ...only(
    "commit-before-answer",
    "idempotency-key",
    "release",
    "tombstone",
    "stock-check",
    "idempotent-reserve",
    "idempotent-send",
    "forward-only",
  ),
  /** What an earlier process left half-way is finished. */
  recovery: [
    {
      file: "sync-rest/endings.ts",
      passage: 'const asking = repair((...page) => orders.inStatus("placed", ...page), askAgain);',
      instead: "const asking = repair(() => [], askAgain);",
    },
    {
      file: "sync-rest/endings.ts",
      passage:
        'const telling = repair((...page) => orders.inStatus("reserved", ...page), tellLater);',
      instead: "const telling = repair(() => [], tellLater);",
    },
  ],
  /** An order that a request works on is nobody else's. */
  "in-flight": [
    {
      file: "sync-rest/endings.ts",
      passage: "return !inFlight.has(order_id) && status === was;",
      instead: "return true;",
    },
  ],
};
