import {
  causedEvent,
  type InventoryFailed,
  type InventoryReserved,
  type OrderPlaced,
} from "@lab/contracts/events";
import type { OrderItem, RejectReason } from "@lab/contracts/order";

export type Decision =
  { kind: "reserved" } | { kind: "rejected"; reason: RejectReason; detail: string };

/**
 * Whether a kitchen can serve an order: all of its items or none. `stockOf` returns the units left,
 * undefined for an item that is not on the menu.
 */
export function decideReservation(
  kitchen: string,
  items: readonly OrderItem[],
  kitchens: (name: string) => boolean,
  stockOf: (sku: string) => number | undefined,
): Decision {
  if (!kitchens(kitchen)) {
    return {
      kind: "rejected",
      reason: "unknown_kitchen",
      detail: `no kitchen ${JSON.stringify(kitchen)}`,
    };
  }
  for (const { sku, qty } of items) {
    const left = stockOf(sku);
    if (left === undefined) {
      return {
        kind: "rejected",
        reason: "unknown_item",
        detail: `${kitchen} does not sell ${JSON.stringify(sku)}`,
      };
    }
    if (left < qty) {
      return {
        kind: "rejected",
        reason: "out_of_stock",
        detail: `${kitchen} has ${left} ${sku} left, ${qty} ordered`,
      };
    }
  }
  return { kind: "reserved" };
}

/** The event that carries the decision of `consumer` on an order. */
export function answerTo(
  placed: OrderPlaced,
  consumer: string,
  decision: Decision,
): InventoryReserved | InventoryFailed {
  const { order_id, user_id, kitchen, items } = placed.data;
  const order = { order_id, user_id, kitchen };
  return decision.kind === "reserved"
    ? causedEvent(placed, consumer, "InventoryReserved", { ...order, items })
    : causedEvent(placed, consumer, "InventoryFailed", { ...order, reason: decision.reason });
}
