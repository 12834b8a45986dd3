/** Stores as three services leave them, for the checker's tests to corrupt. */
import { afterEach, beforeEach } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BULKS_SCHEMA } from "@lab/store/bulks";
import { Inventory, INVENTORY_SCHEMA } from "@lab/store/inventory";
import { LEDGER_SCHEMA } from "@lab/store/ledger";
import { Notifications, NOTIFICATIONS_SCHEMA } from "@lab/store/notifications";
import { Orders, ORDERS_SCHEMA } from "@lab/store/orders";
import { OUTBOX_SCHEMA } from "@lab/store/outbox";
import { Store } from "@lab/store/store";
import type { Operation } from "../load/history.ts";
import type { Checked } from "./checker.ts";

export const ITEMS = [{ sku: "burger", qty: 2 }];
export const AT = "2026-01-01T00:00:00.000Z";

let folder: string;
export let checked: Checked;
export let operations: Operation[];
export let orderStore: Store;
export let inventoryStore: Store;
export let notificationStore: Store;

/** Gives each test of the calling file new stores, without an order. */
export function newStoresForEach(): void {
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "checker-"));
    operations = [];
    checked = {
      model: "sync-rest",
      operations,
      orders: join(folder, "order.sqlite"),
      inventory: join(folder, "inventory.sqlite"),
      notification: join(folder, "notification.sqlite"),
    };
    orderStore = new Store(checked.orders, [...ORDERS_SCHEMA, ...OUTBOX_SCHEMA, ...BULKS_SCHEMA]);
    inventoryStore = new Store(checked.inventory, [...INVENTORY_SCHEMA, ...LEDGER_SCHEMA]);
    notificationStore = new Store(checked.notification as string, NOTIFICATIONS_SCHEMA);
    new Inventory(inventoryStore.db).open(100_000);
  });

  afterEach(() => {
    for (const store of [orderStore, inventoryStore, notificationStore]) {
      store.close();
    }
    rmSync(folder, { recursive: true });
  });
}

/** One order that is correct in every store; the tests then corrupt something. */
export function honestOrder(): string {
  const { order } = new Orders(orderStore.db).placeOnce({
    user_id: "u1",
    items: ITEMS,
  });
  const { order_id } = order;
  new Inventory(inventoryStore.db).reserve(order_id, "main", ITEMS);
  new Notifications(notificationStore.db).send(order);
  advance(order_id, "reserved");
  advance(order_id, "confirmed");
  answer("ok", 201, order_id);
  return order_id;
}

/** Moves an order on, as its service would. */
export function advance(orderId: string, status: "reserved" | "confirmed" | "failed") {
  const reason = status === "failed" ? "inventory_timeout" : undefined;
  new Orders(orderStore.db).advance(orderId, status, AT, reason);
}

/** Notes what a client was told. */
export function answer(
  outcome: Operation["outcome"],
  status: number,
  orderId?: string,
  more: Partial<Operation> = {},
) {
  operations.push({
    id: operations.length,
    kind: "place_order",
    started_us: 0,
    ended_us: 1,
    outcome,
    status,
    ...(orderId === undefined ? {} : { order_id: orderId }),
    request: { user_id: "u1", items: ITEMS },
    ...more,
  });
}
