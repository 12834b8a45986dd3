// What the page says about the protections that can be taken away. The switches themselves are in
// packages/proof/weaving and in the models.
import type { Protection } from "../contract/frame.ts";

/** `broker`: with that one alone, or with none, a few clicks are enough to break the promise. */
const KNOWN: (Protection & { broker?: string })[] = [
  {
    title: "Idempotency key",
    names: ["idempotency-key"],
    broker: "none",
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
    broker: "rabbitmq",
    tryIt:
      "Pause the broker, order, kill the broker, heal all: what was sent and not stored is lost.",
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

/** Those of them that a model with that broker has. */
export function protectionsAmong(names: readonly string[], used: string | undefined): Protection[] {
  return KNOWN.filter(
    (one) =>
      one.names.every((name) => names.includes(name)) &&
      (one.broker === undefined || one.broker === (used ?? "none")),
  ).map(({ names: own, title, tryIt }) => ({ names: own, title, tryIt }));
}
