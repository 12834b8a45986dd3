/** How an order of the synchronous model ends: at once, or later, by a repair that finishes what was left open. */
import type { Order, OrderStatus } from "@lab/contracts/order";
import type { Faults } from "@lab/runtime/faults";
import type { Log } from "@lab/runtime/log";
import { type Attempt, Repair } from "@lab/runtime/work/repair";
import { childTrace } from "@lab/runtime/trace";
import type { Orders } from "@lab/store/orders";
import type { Releases } from "@lab/store/releases";
import type { Store } from "@lab/store/store";
import type { Client, Told } from "./client.ts";

/** What the order service works with. */
export interface Shop {
  client: Client;
  faults: Faults;
  /** Orders that a request is working on: not the repair's business. */
  inFlight: Set<string>;
  log: Log;
  orders: Orders;
  owesRelease(): void;
  releases: Releases;
  store: Store;
}

/** Fails the order and, if Inventory may hold stock for it, owes a release. */
export async function giveUp(
  { log, orders, owesRelease, releases, store }: Shop,
  order_id: string,
  { kind, code }: { kind: string; code: string },
): Promise<void> {
  await store.commit(() => {
    orders.advance(order_id, "failed", now(), code);
    if (kind === "unknown") releases.add(order_id);
  });
  log.debug("order_advanced", { order_id, status: "failed", reason: code });
  if (kind === "unknown") owesRelease();
}

/** The order stands: its customer was told, or will be. */
export async function finish(
  { log, orders, store }: Shop,
  order_id: string,
  reservedAt: string,
  told: Told,
): Promise<void> {
  // One commit for both steps. Killed before it, the order is still `placed`
  // and the repair asks Inventory and Notification again; both know it.
  await store.commit(() => {
    orders.advance(order_id, "reserved", reservedAt);
    if (told.kind === "told") orders.advance(order_id, "confirmed", told.at);
  });
  log.debug("order_advanced", { order_id, notification: told.kind });
}

/**
 * What is open is finished, however long that takes: releases that Inventory has not answered,
 * orders that an earlier process left half-way, and confirmations that are owed.
 */
export function startRepairs(shop: Shop, retryEveryMs: number) {
  const { log, orders, releases, store } = shop;
  const repair = (
    owed: (limit: number, after: string) => string[],
    attempt: (shop: Shop, orderId: string) => Promise<Attempt>,
  ) =>
    new Repair(log, retryEveryMs, {
      owed(...page) {
        // Else nothing could be marked as done, and the same would be asked for again and again.
        store.assertFilesIntact();
        return owed(...page);
      },
      attempt: (orderId) => attempt(shop, orderId),
    });
  const releasing = repair((...page) => releases.pending(...page), release);
  const asking = repair((...page) => orders.inStatus("placed", ...page), askAgain);
  const telling = repair((...page) => orders.inStatus("reserved", ...page), tellLater);
  return {
    /** A release is owed. */
    wake: () => releasing.wake(),
    stop: () => Promise.all([releasing, asking, telling].map((one) => one.stop())),
  };
}

/** POST /release, until Inventory has answered. */
async function release({ client, log, releases, store }: Shop, orderId: string): Promise<Attempt> {
  const attempt = await client.release(orderId, childTrace(undefined));
  if (attempt !== "done") return attempt;
  await store.commit(() => releases.done(orderId));
  log.debug("stock_released", { order_id: orderId });
  return "done";
}

/** An order that is `placed`, and that no request works on. */
async function askAgain(shop: Shop, orderId: string): Promise<Attempt> {
  const order = shop.orders.get(orderId);
  if (!isOrphaned(shop, order, "placed")) return "done";
  const trace = childTrace(undefined);
  const reserved = await shop.client.reserve(order, trace);
  if (reserved.kind === "reserved") {
    const told = await shop.client.send(order, trace);
    await finish(shop, orderId, reserved.at, told);
  } else if (reserved.kind === "rejected") await giveUp(shop, orderId, reserved);
  else return reserved.attempt;
  return "done";
}

/** An order that is `reserved`: its confirmation is owed. */
async function tellLater(shop: Shop, orderId: string): Promise<Attempt> {
  const order = shop.orders.get(orderId);
  if (!isOrphaned(shop, order, "reserved")) return "done";
  const told = await shop.client.send(order, childTrace(undefined));
  if (told.kind === "pending") return told.attempt;
  await finish(shop, orderId, now(), told);
  return "done";
}

/** Whether an order is still as it was, and no request works on it. */
function isOrphaned({ inFlight }: Shop, { order_id, status }: Order, was: OrderStatus): boolean {
  return !inFlight.has(order_id) && status === was;
}

function now(): string {
  return new Date().toISOString();
}
