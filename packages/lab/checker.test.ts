import { afterEach, beforeEach, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newId } from "@lab/contracts/ids";
import { Inventory, INVENTORY_SCHEMA } from "@lab/store/inventory";
import { Notifications, NOTIFICATIONS_SCHEMA } from "@lab/store/notifications";
import { Orders, ORDERS_SCHEMA } from "@lab/store/orders";
import { Store } from "@lab/store/store";
import { type Checked, checkOrders, violations } from "./checker.ts";
import type { Operation } from "./history.ts";

const ITEMS = [{ sku: "burger", qty: 2 }];
const AT = "2026-01-01T00:00:00.000Z";

let folder: string;
let checked: Checked;
let operations: Operation[];
let orderStore: Store;
let inventoryStore: Store;
let notificationStore: Store;

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
  orderStore = new Store(checked.orders, ORDERS_SCHEMA);
  inventoryStore = new Store(checked.inventory, INVENTORY_SCHEMA);
  notificationStore = new Store(checked.notification as string, NOTIFICATIONS_SCHEMA);
  new Inventory(inventoryStore.db).open(100_000);
});

afterEach(() => {
  for (const store of [orderStore, inventoryStore, notificationStore]) {
    store.close();
  }
  rmSync(folder, { recursive: true });
});

/** One order that went right in every store; the tests then spoil something. */
function honestOrder(): string {
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

function advance(orderId: string, status: "reserved" | "confirmed" | "failed") {
  const reason = status === "failed" ? "inventory_timeout" : undefined;
  new Orders(orderStore.db).advance(orderId, status, AT, reason);
}

function answer(
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

test("an honest run has no violations", () => {
  honestOrder();
  answer("unknown", 0);
  const verdict = checkOrders(checked);
  expect(violations(verdict)).toEqual({});
  expect(verdict).toMatchObject({
    attempted: 2,
    acknowledged: 1,
    unknown: 1,
    confirmed: 1,
    recovered: [],
    stock_difference_units: 0,
  });
});

test("an acknowledged order that is not stored is lost", () => {
  const id = newId();
  answer("ok", 202, id);
  expect(violations(checkOrders(checked))).toEqual({ lost: [id] });
});

test("an acknowledged order without a terminal state is lost, another is stuck", () => {
  const place = () =>
    new Orders(orderStore.db).placeOnce({ user_id: "u1", items: ITEMS }).order.order_id;
  const acknowledged = place();
  const unheard = place();
  answer("ok", 202, acknowledged);
  answer("unknown", 0);
  expect(violations(checkOrders(checked))).toEqual({
    lost: [acknowledged],
    stuck: [unheard],
  });
});

test("a confirmation that went out twice is doubled", () => {
  const id = honestOrder();
  notificationStore.db.run(
    "INSERT INTO notifications (order_id, user_id, text, sent_at) VALUES (?, 'u1', '', '')",
    [id],
  );
  expect(violations(checkOrders(checked))).toEqual({ doubled: [id] });
});

test("stock that a failed order holds is leaked", () => {
  const { order } = new Orders(orderStore.db).placeOnce({
    user_id: "u1",
    items: ITEMS,
  });
  new Inventory(inventoryStore.db).reserve(order.order_id, "main", ITEMS);
  advance(order.order_id, "failed");
  answer("failed", 504, order.order_id);
  expect(violations(checkOrders(checked))).toEqual({
    leaked: [order.order_id],
  });
});

test("stock that was taken twice is unbalanced, to the unit", () => {
  honestOrder();
  inventoryStore.db.run(
    "UPDATE stock SET quantity = quantity - 2 WHERE kitchen = 'main' AND sku = 'burger'",
  );
  const verdict = checkOrders(checked);
  expect(violations(verdict)).toEqual({ unbalanced: ["main burger: -2"] });
  expect(verdict.stock_difference_units).toBe(2);
});

test("more reserved than there was is oversold", () => {
  honestOrder();
  expect(checkOrders({ ...checked, openingStock: 1 }).oversold).toEqual(["main burger"]);
});

test("a client that was told no while the order stands is contradicted", () => {
  const id = honestOrder();
  operations.pop();
  answer("failed", 504, id);
  expect(violations(checkOrders(checked))).toEqual({ contradicted: [id] });
});

test("a confirmed order without a reservation is contradicted", () => {
  const id = honestOrder();
  new Inventory(inventoryStore.db).release(id);
  expect(violations(checkOrders(checked))).toEqual({ contradicted: [id] });
});

test("an order that failed and went on is resurrected", () => {
  const id = honestOrder();
  orderStore.db.run("INSERT INTO order_steps VALUES (?, 'failed', ?)", [id, AT]);
  expect(violations(checkOrders(checked))).toEqual({ resurrected: [id] });
});

test("an order whose answer never came, and which ended, is recovered", () => {
  const id = honestOrder();
  operations.pop();
  answer("unknown", 0);
  const verdict = checkOrders(checked);
  expect(violations(verdict)).toEqual({});
  expect(verdict.recovered).toEqual([id]);
});

test("an order that nobody asked for is unexpected", () => {
  honestOrder();
  const twin = honestOrder();
  operations.pop();
  expect(violations(checkOrders(checked))).toEqual({ unexpected: [twin] });
  expect(violations(checkOrders({ ...checked, others: 1 }))).toEqual({});
});

test("an acknowledgement without an order id is lost", () => {
  answer("ok", 202);
  expect(violations(checkOrders(checked))).toEqual({ lost: ["operation 0: no order id"] });
});

test("an order whose message is in a dead queue is dead, which is neither lost nor stuck", () => {
  const place = () =>
    new Orders(orderStore.db).placeOnce({ user_id: "u1", items: ITEMS }).order.order_id;
  const acknowledged = place();
  const unheard = place();
  answer("ok", 202, acknowledged);
  answer("unknown", 0);
  const verdict = checkOrders({ ...checked, dead: [acknowledged, unheard] });
  expect(violations(verdict)).toEqual({});
  expect(verdict.dead).toEqual([acknowledged, unheard]);
});

test("metrics that don't agree with the orders are miscounted", () => {
  honestOrder();
  const metrics = { placed: 1, reserved: 0, failed: 0 };
  expect(violations(checkOrders({ ...checked, metrics }))).toEqual({});
  expect(checkOrders({ ...checked, metrics: { ...metrics, placed: 2 } }).miscounted).toEqual([
    "placed: 2, not 1",
  ]);
});

test("two orders for one key of a client are doubled", () => {
  const [first, second] = [honestOrder(), honestOrder()];
  for (const operation of operations) operation.key = "k";
  expect(violations(checkOrders(checked))).toEqual({ doubled: [first, second] });
});

test("a try without an answer allows no other order, once its key was answered", () => {
  honestOrder();
  const twin = honestOrder();
  operations.splice(1);
  for (const operation of operations) operation.key = "k";
  answer("unknown", 0, undefined, { key: "k" });
  expect(violations(checkOrders(checked))).toEqual({ unexpected: [twin] });
});

test("tries without an answer under one key allow one order", () => {
  const ids = [honestOrder(), honestOrder()];
  operations.length = 0;
  for (const key of ["k", "k"]) answer("unknown", 0, undefined, { key });
  expect(violations(checkOrders(checked))).toEqual({ unexpected: ids.toSorted().slice(1) });
  answer("unknown", 0, undefined, { key: "another" });
  expect(violations(checkOrders(checked))).toEqual({});
});

test("a refusal that says nothing of the order does not contradict it", () => {
  const id = honestOrder();
  answer("failed", 409, id, { code: "order_in_progress" });
  answer("failed", 422, id, { code: "idempotency_key_reused" });
  expect(violations(checkOrders(checked))).toEqual({});
});

test("a message that was tried more often than the limit allows is endless", () => {
  const id = honestOrder();
  const { notification: _, ...rest } = checked;
  const found = (model: Checked["model"], count: number) =>
    checkOrders({ ...rest, model, attempts: new Map([[id, count]]) }).endless;
  expect([found("async-rabbitmq", 6), found("async-rabbitmq", 7)]).toEqual([[], [id]]);
  expect([found("streaming-kafka", 5), found("streaming-kafka", 6)]).toEqual([[], [id]]);
});

test("what is stored must be what was asked for, and what is reserved what was stored", () => {
  const id = honestOrder();
  const found = (store: Store, sql: string) => {
    store.db.run("BEGIN");
    store.db.run(sql);
    store.db.run("COMMIT");
    return violations(checkOrders(checked)).contradicted;
  };
  expect([
    found(inventoryStore, "UPDATE reservations SET kitchen = 'k05'"),
    found(inventoryStore, "UPDATE reservations SET kitchen = 'main'"),
    found(orderStore, "UPDATE orders SET kitchen = 'k01'"),
    found(orderStore, "UPDATE orders SET kitchen = 'main', user_id = 'u2'"),
    found(orderStore, "UPDATE orders SET user_id = 'u1', items = '[]'"),
  ]).toEqual([[id], undefined, [id], [id], [id]]);
});

test("an order that fails for a reason that it doesn't explain is contradicted", () => {
  const { order } = new Orders(orderStore.db).placeOnce({ user_id: "u1", items: ITEMS });
  const { order_id: id } = order;
  answer("failed", 504, id);
  new Orders(orderStore.db).advance(id, "failed", AT, "out_of_stock");
  const found = (reason: string, more: Partial<Checked> = {}) => {
    orderStore.db.run("UPDATE orders SET reason = ?", [reason]);
    return checkOrders({ ...checked, ...more }).contradicted;
  };
  const { notification: _, ...streaming } = checked;
  expect([
    found("out_of_stock"),
    found("out_of_stock", { openingStock: 1 }),
    found("unknown_item"),
    found("unknown_kitchen"),
    found("inventory_timeout"),
    found("inventory_timeout", { ...streaming, model: "streaming-kafka" }),
  ]).toEqual([[id], [], [id], [id], [], [id]]);
});

test("an order that stands though nobody sells what it asks for is contradicted", () => {
  const id = honestOrder();
  for (const store of [orderStore, inventoryStore]) {
    const table = store === orderStore ? "orders" : "reservations";
    store.db.run(`UPDATE ${table} SET items = '[{"sku":"lobster","qty":2}]'`);
  }
  (operations[0] as Operation).request = { user_id: "u1", items: [{ sku: "lobster", qty: 2 }] };
  expect(checkOrders(checked).contradicted).toEqual([id]);
});

test("an order that nobody has heard of must be one that was asked for", () => {
  const ids = [honestOrder(), honestOrder()];
  operations.length = 0;
  answer("unknown", 0);
  answer("unknown", 0, undefined, { request: { user_id: "u2", items: ITEMS } });
  expect(violations(checkOrders(checked))).toEqual({ unexpected: ids.toSorted().slice(1) });
});

test("a replay that gives other metrics is unequal", () => {
  const replay = { generation: 2, digest_before: "a", digest_after: "a" };
  expect(violations(checkOrders({ ...checked, replay }))).toEqual({});
  const other = { ...replay, digest_after: "b" };
  expect(violations(checkOrders({ ...checked, replay: other }))).toEqual({
    unequal: ["generation 2"],
  });
});
