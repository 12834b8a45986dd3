import type { Model } from "./evidence.ts";

/**
 * What a model promises beyond what all models promise: proof/kills/promises.ts checks it against the
 * running services, and README's comparison is generated from it.
 */
export interface Promises {
  /** The answer to a good order: 201 is its result, 202 a receipt. */
  answer: 201 | 202;
  /** Where orders wait while Inventory is dead; null where they are refused with 503. */
  ordersWaitIn: "its queue" | "the log" | null;
  /** How a repeated request or message is recognized. */
  repeatKnownBy: "order id" | "ledger" | "ledger, and offsets";
  /** Where a request or message that can never be valid goes. */
  invalidGoesTo: "422" | "dead queue" | "dead topic";
  /** Whether the customer is told that the order is confirmed. If so, exactly once. */
  tellsCustomer: boolean;
  /** Whether a kitchen's orders are processed in the order in which they were placed. */
  keepsOrder: boolean;
  /** Which past data can be queried. */
  looksBackTo: "what the databases hold" | "the log, replayed";
}

export const PROMISES: Record<Model, Promises> = {
  "sync-rest": {
    answer: 201,
    ordersWaitIn: null,
    repeatKnownBy: "order id",
    invalidGoesTo: "422",
    tellsCustomer: true,
    keepsOrder: false,
    looksBackTo: "what the databases hold",
  },
  "async-rabbitmq": {
    answer: 202,
    ordersWaitIn: "its queue",
    repeatKnownBy: "ledger",
    invalidGoesTo: "dead queue",
    tellsCustomer: true,
    keepsOrder: false,
    looksBackTo: "what the databases hold",
  },
  "streaming-kafka": {
    answer: 202,
    ordersWaitIn: "the log",
    repeatKnownBy: "ledger, and offsets",
    invalidGoesTo: "dead topic",
    tellsCustomer: false,
    keepsOrder: true,
    looksBackTo: "the log, replayed",
  },
};

/** The promises in which the models differ, each with its text for a model. */
export const DIFFERENCES: Record<keyof Promises, { title: string; says(its: Promises): string }> = {
  answer: {
    title: "the customer gets",
    says: ({ answer }) => (answer === 201 ? "the result (201)" : "a receipt (202)"),
  },
  tellsCustomer: {
    title: "and hears of the end",
    says: ({ tellsCustomer }) => (tellsCustomer ? "by one confirmation" : "by asking"),
  },
  ordersWaitIn: {
    title: "Inventory dead for a minute",
    says: ({ ordersWaitIn }) =>
      ordersWaitIn === null ? "orders are refused (503)" : `orders wait in ${ordersWaitIn}`,
  },
  repeatKnownBy: {
    title: "the same message twice",
    says: ({ repeatKnownBy }) =>
      repeatKnownBy === "order id" ? "idempotent by order id" : repeatKnownBy,
  },
  invalidGoesTo: {
    title: "a message that can never be valid",
    says: ({ invalidGoesTo }) => invalidGoesTo,
  },
  keepsOrder: {
    title: "a kitchen's orders, in their order",
    says: ({ keepsOrder }) => (keepsOrder ? "kept, by the key" : "not promised"),
  },
  looksBackTo: { title: "look back", says: ({ looksBackTo }) => looksBackTo },
};
