/** How an order of the synchronous model ends: at once, or later, by a repair that completes unfinished orders. */
import type { Order, OrderStatus } from "@lab/contracts/order";
import type { Faults } from "@lab/runtime/faults";
import type { Log } from "@lab/runtime/log";
import { type Attempt, Repair } from "@lab/runtime/work/repair";
import { inSpan } from "@lab/runtime/trace";
import type { Orders } from "@lab/store/orders";
import type { Releases } from "@lab/store/releases";
import type { Store } from "@lab/store/store";
import type { Client, SendResult } from "./client.ts";

/** What the order service's functions share. */
export interface Shop {
  client: Client;
  faults: Faults;
  /** Orders that a request is processing: the repair leaves them alone. */
  inFlight: Set<string>;
  log: Log;
  orders: Orders;
  owesRelease(): void;
  releases: Releases;
  store: Store;
}

/** Fails the order and, if Inventory may hold stock for it, records that a release is due. */
export async function giveUp(
  { log, orders, owesRelease, releases, store }: Shop,
  order_id: string,
  { kind, code }: { kind: string; code: string },
): Promise<void> {
  await store.commit(() => {
    orders.advance(order_id, "failed", new Date().toISOString(), code);
    if (kind === "unknown") releases.add(order_id);
  });
  log.debug("order_advanced", { order_id, status: "failed", reason: code });
  if (kind === "unknown") owesRelease();
}

/** Confirms the order, or, while its customer can't be told, leaves it `reserved`. */
export async function finish(
  { log, orders, store }: Shop,
  order_id: string,
  reservedAt: string,
  told: SendResult,
): Promise<void> {
  // One commit for both steps. Killed before it, the order is still `placed` and the repair calls
  // Inventory and Notification again; both recognize the order.
  await store.commit(() => {
    orders.advance(order_id, "reserved", reservedAt);
    if (told.kind === "told") orders.advance(order_id, "confirmed", told.at);
  });
  log.debug("order_advanced", { order_id, notification: told.kind });
}

/**
 * Retries unfinished work until it is done: releases that Inventory has not answered, orders that
 * an earlier process left half-way, and confirmations that were not sent.
 */
export function startRepairs(shop: Shop, retryEveryMs: number) {
  const { log, orders, releases, store } = shop;
  const repair = (
    owed: (limit: number, after: string) => string[],
    attempt: (shop: Shop, orderId: string) => Promise<Attempt>,
  ) =>
    new Repair(log, retryEveryMs, {
      owed(...page) {
        // Otherwise nothing could be marked as done, and the same calls would be made again and
        // again.
        store.assertFilesIntact();
        return owed(...page);
      },
      attempt: (orderId) => attempt(shop, orderId),
    });
  const releasing = repair((...page) => releases.pending(...page), release);
  const asking = repair((...page) => orders.inStatus("placed", ...page), askAgain);
  const telling = repair((...page) => orders.inStatus("reserved", ...page), tellLater);
  return {
    /** Called when a release is due. */
    wake: () => releasing.wake(),
    stop: () => Promise.all([releasing, asking, telling].map((one) => one.stop())),
  };
}

/** POST /release, until Inventory has answered. */
async function release({ client, log, releases, store }: Shop, orderId: string): Promise<Attempt> {
  const attempt = await client.release(orderId);
  if (attempt !== "done") return attempt;
  await store.commit(() => releases.done(orderId));
  log.debug("stock_released", { order_id: orderId });
  return "done";
}

/** Completes an order that is `placed` and that no request is processing. */
async function askAgain(shop: Shop, orderId: string): Promise<Attempt> {
  const order = shop.orders.get(orderId);
  if (!isOrphaned(shop, order, "placed")) return "done";
  const describe = () => ({ kind: "internal" as const, name: "ask again", orderId });
  return inSpan(shop.log, undefined, describe, async (trace) => {
    const reserved = await shop.client.reserve(order, trace);
    if (reserved.kind === "reserved") {
      const told = await shop.client.send(order, trace);
      await finish(shop, orderId, reserved.at, told);
    } else if (reserved.kind === "rejected") await giveUp(shop, orderId, reserved);
    else return reserved.attempt;
    return "done";
  });
}

/** Sends the confirmation of an order that is `reserved`. */
async function tellLater(shop: Shop, orderId: string): Promise<Attempt> {
  const order = shop.orders.get(orderId);
  if (!isOrphaned(shop, order, "reserved")) return "done";
  const told = await shop.client.send(order);
  if (told.kind === "pending") return told.attempt;
  await finish(shop, orderId, new Date().toISOString(), told);
  return "done";
}

/** Whether an order still has that status, and no request is processing it. */
function isOrphaned({ inFlight }: Shop, { order_id, status }: Order, was: OrderStatus): boolean {
  return !inFlight.has(order_id) && status === was;
}
