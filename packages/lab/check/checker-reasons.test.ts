import { expect, test } from "bun:test";
import { newId } from "@lab/contracts/ids";
import { Orders } from "@lab/store/orders";
import { type Checked, checkOrders, violations } from "./checker.ts";
import {
  answer,
  AT,
  checked,
  honestOrder,
  inventoryStore,
  ITEMS,
  newStoresForEach,
  operations,
  orderStore,
} from "./checker-fixture.ts";
import type { Operation } from "../load/history.ts";

newStoresForEach();

test("an order that fails for a reason that it doesn't explain is contradicted", () => {
  const { order } = new Orders(orderStore.db).placeOnce({ user_id: "u1", items: ITEMS });
  const { order_id: id } = order;
  new Orders(orderStore.db).advance(id, "failed", AT, "out_of_stock");
  const found = (reason: string, more: Partial<Checked> = {}) => {
    answer("failed", 504, id, { id: 0, code: reason });
    orderStore.db.run("UPDATE orders SET reason = ?", [reason]);
    inventoryStore.db.run("DELETE FROM reservations");
    if (!reason.startsWith("inventory")) {
      inventoryStore.db.run(
        "INSERT INTO reservations VALUES (?, 'rejected', 'main', ?, ?, NULL, '', NULL)",
        [id, JSON.stringify(ITEMS), reason],
      );
    }
    const { contradicted } = checkOrders({ ...checked, ...more });
    operations.pop();
    return contradicted;
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

test("an order may run out of what was held at that moment, and of nothing else", () => {
  const { order } = new Orders(orderStore.db).placeOnce({ user_id: "u1", items: ITEMS });
  const { order_id: id } = order;
  answer("failed", 409, id, { code: "out_of_stock" });
  new Orders(orderStore.db).advance(id, "failed", AT, "out_of_stock");
  inventoryStore.db.run(
    "INSERT INTO reservations VALUES (?, 'rejected', 'main', ?, 'out_of_stock', NULL, '2026-01-02', NULL)",
    [id, JSON.stringify(ITEMS)],
  );
  const found = (state: "reserved" | "released", at: string) => {
    const held = newId();
    inventoryStore.db.run(
      "INSERT INTO reservations VALUES (?, ?, 'main', ?, NULL, NULL, ?, NULL)",
      [held, state, JSON.stringify(ITEMS), at],
    );
    const { contradicted } = checkOrders({ ...checked, openingStock: 3 });
    inventoryStore.db.run("DELETE FROM reservations WHERE order_id = ?", [held]);
    return contradicted;
  };
  expect([
    found("reserved", "2026-01-01"),
    found("reserved", "2026-01-03"),
    found("released", "2026-01-01"),
    found("released", "2026-01-03"),
  ]).toEqual([[], [id], [id], []]);
});

test("a client that was told another reason than the order has is contradicted", () => {
  const { order } = new Orders(orderStore.db).placeOnce({ user_id: "u1", items: ITEMS });
  new Orders(orderStore.db).advance(order.order_id, "failed", AT, "inventory_error");
  answer("failed", 504, order.order_id, { code: "inventory_timeout" });
  expect(violations(checkOrders(checked))).toEqual({ contradicted: [order.order_id] });
});
