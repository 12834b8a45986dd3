// What the page says about the protections that can be taken away. The switches themselves are in
// packages/proof/weaving and in the models.
import type { Protection } from "../contract/frame.ts";

const KNOWN: Protection[] = [
  {
    title: "Idempotency key",
    names: ["idempotency-key"],
    tryIt: "Send the same order again: the customer gets two.",
  },
  {
    title: "Release and tombstone",
    names: ["release", "tombstone"],
    tryIt: "Make Inventory 5 s slower and order: the customer hears no, and the stock is gone.",
  },
  {
    title: "Ledger and idempotent reserve",
    names: ["ledger", "idempotent-reserve"],
    tryIt: "Send the same message again: its stock is taken twice.",
  },
  {
    title: "Outbox",
    names: ["outbox"],
    tryIt: "Kill the broker, order, kill Order, heal all: the orders are promised, and lost.",
  },
  {
    title: "Publisher confirms",
    names: ["confirms"],
    tryIt: "Kill the broker during a burst, heal all: what it had not stored is lost.",
  },
  {
    title: "Acknowledge after the work",
    names: ["ack-after-commit"],
    tryIt:
      "Make Inventory slower, start a burst, kill Inventory, heal all: what it had in hand is lost.",
  },
  {
    title: "Commit before the answer",
    names: ["commit-before-answer"],
    tryIt: "Order, kill Order within five seconds, heal all: what was promised was never stored.",
  },
  {
    title: "Dead letters",
    names: ["dead-letter"],
    tryIt: "Send a poison message: it is gone, without a trace.",
  },
];

/** Those of them that a model has. */
export function protectionsAmong(names: readonly string[]): Protection[] {
  return KNOWN.filter((one) => one.names.every((name) => names.includes(name)));
}
