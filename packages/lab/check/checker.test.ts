import { expect, test } from "bun:test";
import { newEvent } from "@lab/contracts/events";
import { newId } from "@lab/contracts/ids";
import { createLog } from "@lab/runtime/log";
import { BulkRequest } from "@lab/contracts/bulk";
import { Bulks } from "@lab/store/bulks";
import { Inventory } from "@lab/store/inventory";
import { Ledger } from "@lab/store/ledger";
import { Orders } from "@lab/store/orders";
import { Outbox } from "@lab/store/outbox";
import type { Store } from "@lab/store/store";
import { bulkOrder } from "@lab/workflow/bulk";
import { Value } from "@sinclair/typebox/value";
import { type Metrics, metricsOf } from "@lab/workflow/metrics";
import { type Checked, checkOrders, violations } from "./checker.ts";
import {
  advance,
  answer,
  AT,
  checked,
  honestOrder,
  inventoryStore,
  ITEMS,
  newStoresForEach,
  notificationStore,
  operations,
  orderStore,
} from "./checker-fixture.ts";
import type { Operation } from "../load/history.ts";

newStoresForEach();

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
    `INSERT INTO notifications (order_id, user_id, text, sent_at)
     SELECT order_id, user_id, text, sent_at FROM notifications`,
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
  answer("failed", 504, order.order_id, { code: "inventory_timeout" });
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

test("metrics that don't agree with the orders are miscounted, kitchen by kitchen", () => {
  honestOrder();
  const found = (...kitchens: string[]) => {
    const counters = kitchens.map((kitchen) => ({ kitchen, metric: "placed", bucket: "", n: 1 }));
    const metrics = metricsOf(counters as Parameters<typeof metricsOf>[0]);
    return checkOrders({ ...checked, metrics }).miscounted;
  };
  expect([found("main"), found("main", "main"), found("k01")]).toEqual([
    [],
    ["placed: 2, not 1", "main placed: 2, not 1"],
    ["k01 placed: 1, not 0", "main placed: 0, not 1"],
  ]);
});

test("a key goes over to the next order where the one before left nothing, answered or not", () => {
  for (const answered of [true, false]) {
    const key = `again-${answered}`;
    const orders = new Orders(orderStore.db);
    const refused = orders.placeOnce({ user_id: "u1", items: ITEMS }).order.order_id;
    orders.advance(refused, "failed", AT, "inventory_unreachable");
    if (answered) answer("failed", 503, refused, { code: "inventory_unreachable", key });
    else answer("unknown", 0, undefined, { key });
    honestOrder();
    operations.at(-1)!.key = key;
  }
  expect(violations(checkOrders(checked))).toEqual({});
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
  for (const operation of operations) operation.key = "k";
  answer("failed", 422, id, { code: "idempotency_key_reused", key: "k", request: {} });
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

test("an order that nobody has heard of must be one that was asked for", () => {
  const ids = [honestOrder(), honestOrder()];
  operations.length = 0;
  answer("unknown", 0);
  answer("unknown", 0, undefined, { request: { user_id: "u2", items: ITEMS } });
  expect(violations(checkOrders(checked))).toEqual({ unexpected: ids.toSorted().slice(1) });
});

test("one order for two clients that were answered is lost to one of them", () => {
  const id = honestOrder();
  answer("ok", 201, id);
  expect(violations(checkOrders(checked))).toEqual({ lost: [id] });
  for (const operation of operations) operation.key = "k";
  expect(violations(checkOrders(checked))).toEqual({});
  (operations[0] as Operation).key = "another";
  expect(violations(checkOrders(checked))).toEqual({ lost: [id] });
});

test("a customer who is told of somebody else's order is contradicted", () => {
  const id = honestOrder();
  const found = (set: string) => {
    notificationStore.db.run(`UPDATE notifications SET ${set}`);
    return violations(checkOrders(checked)).contradicted;
  };
  expect([
    found("text = 'Your order is being made by kitchen k07.'"),
    found("text = 'by kitchen main', user_id = 'u2'"),
    found("user_id = 'u1'"),
  ]).toEqual([[id], [id], undefined]);
});

test("stock that is nowhere written down is unbalanced", () => {
  honestOrder();
  inventoryStore.db.run("DELETE FROM stock WHERE kitchen = 'main' AND sku = 'burger'");
  expect(violations(checkOrders(checked))).toEqual({ unbalanced: ["main burger: -99998"] });
});

test("every dead letter of an order is seen, also of one that has ended", () => {
  const id = honestOrder();
  expect(checkOrders({ ...checked, dead: [id, id, newId()] }).dead).toEqual([id]);
});

/** The stores of the streaming model: `stream` places orders of a bulk stream, all of which end well. */
function streaming() {
  const { notification: _, ...rest } = checked;
  const request = Value.Parse(BulkRequest, { count: 9, kitchens: 1 });
  const orders = new Orders(orderStore.db);
  const ledger = new Ledger(inventoryStore.db, "inventory", createLog("test", "error"));
  const bulks = new Bulks(orderStore.db);
  const { bulk_id } = bulks.begin(request);
  const stream = (n: number) => {
    const { order } = orders.placeOnce(bulkOrder({ ...request, failRate: 0 }, n));
    const { items, kitchen, order_id, user_id } = order;
    const placed = { order_id, user_id, kitchen, items };
    const event = newEvent("OrderPlaced", "test", placed);
    new Outbox(orderStore.db).add(kitchen, event);
    new Inventory(inventoryStore.db).reserve(order_id, kitchen, items);
    ledger.once(event, () => ({ kind: "done", outcome: "" }));
    advance(order_id, "reserved");
    bulks.advance(bulk_id, 1);
    return order_id;
  };
  return { checked: { ...rest, model: "streaming-kafka" } as Checked, stream };
}

test("every order of a bulk stream must be there, and none besides", () => {
  const { checked: streamed, stream } = streaming();
  const [first, second] = [stream(0), stream(1)];
  const verdict = checkOrders(streamed);
  expect(violations(verdict)).toEqual({});
  expect(verdict.recovered).toEqual([]);
  const found = (placed: number) => {
    orderStore.db.run("UPDATE bulks SET placed = ?", [placed]);
    return violations(checkOrders(streamed));
  };
  expect(found(1)).toEqual({ unexpected: [second] });
  expect(found(0)).toEqual({ unexpected: [first, second] });
  expect(found(3).lost).toEqual([expect.stringContaining("of a stream: ")]);
});

test("an order that overtakes one of its kitchen is reordered", () => {
  const { checked: streamed, stream } = streaming();
  const [, second] = [stream(0), stream(1)];
  inventoryStore.db.run("UPDATE ledger SET processed_at = '2026-01-01'");
  expect(violations(checkOrders(streamed))).toEqual({});
  inventoryStore.db.run("UPDATE ledger SET processed_at = '2025-12-31' WHERE event_id = ?", [
    eventOf(second),
  ]);
  expect(violations(checkOrders(streamed))).toEqual({ reordered: [second] });
});

function eventOf(orderId: string): string {
  const row = orderStore.db
    .query<{ event_id: string }, [string]>(
      "SELECT event_id FROM outbox WHERE body ->> 'subject' = ?",
    )
    .get(orderId);
  return row!.event_id;
}

test("metrics that were right and got worse are worsened, though they may be behind", () => {
  const none = metricsOf([]);
  const metrics = { ...none, placed: 2 };
  const found = (...shown: Metrics[]) => checkOrders({ ...checked, metrics, shown }).worsened;
  expect(found(none, { ...none, placed: 1 }, metrics)).toEqual([]);
  expect(found(metrics, none)).toEqual(["placed: 2, then 0"]);
  expect(found({ ...none, failures_by_reason: { out_of_stock: 1 } })).toEqual([
    "failed for out_of_stock: 1, then 0",
  ]);
});

test("a replay that gives other metrics is unequal", () => {
  const replay = { generation: 2, digest_before: "a", digest_after: "a" };
  expect(violations(checkOrders({ ...checked, replay }))).toEqual({});
  const other = { ...replay, digest_after: "b" };
  expect(violations(checkOrders({ ...checked, replay: other }))).toEqual({
    unequal: ["generation 2"],
  });
});
