import { expect, test } from "bun:test";
import type { OrderStatus } from "@lab/contracts/order";
import { bulkOrder, OFF_MENU_SKU } from "./bulk.ts";
import { mayBecome } from "./order-status.ts";
import { draw } from "./random.ts";
import { decideReservation } from "./reservation.ts";

test("all items are reserved or none, and the reason is the first that lacks", () => {
  const stock = new Map([
    ["burger", 2],
    ["fries", 0],
  ]);
  const decide = (kitchen: string, ...items: [string, number][]) => {
    const decision = decideReservation(
      kitchen,
      items.map(([sku, qty]) => ({ sku, qty })),
      (name) => name === "main",
      (sku) => stock.get(sku),
    );
    return decision.kind === "rejected" ? decision.reason : decision.kind;
  };
  expect(decide("main", ["burger", 2])).toBe("reserved");
  expect(decide("main", ["burger", 3])).toBe("out_of_stock");
  expect(decide("main", ["burger", 1], ["fries", 1])).toBe("out_of_stock");
  expect(decide("main", ["lobster", 1])).toBe("unknown_item");
  expect(decide("moon", ["burger", 1])).toBe("unknown_kitchen");
});

test("an order only goes forward, and failed and confirmed are ends", () => {
  const all: OrderStatus[] = ["placed", "reserved", "confirmed", "failed"];
  const steps = all.flatMap((from) =>
    all.filter((to) => mayBecome(from, to)).map((to) => `${from} -> ${to}`),
  );
  expect(steps).toEqual([
    "placed -> reserved",
    "placed -> confirmed",
    "placed -> failed",
    "reserved -> confirmed",
  ]);
});

test("a draw depends on seed and number alone, and is even", () => {
  expect(draw(7, 3)).toBe(draw(7, 3));
  expect(draw(7, 3)).not.toBe(draw(8, 3));
  const below = Array.from({ length: 20_000 }, (_, n) => draw(1, n));
  const share = below.filter((value) => value < 0.05).length / below.length;
  expect(share).toBeGreaterThan(0.045);
  expect(share).toBeLessThan(0.055);
});

test("a bulk stream is the same for a seed, and fails as often as asked", () => {
  const plan = { seed: 1, kitchens: 24, failRate: 0.05 };
  const orders = Array.from({ length: 10_000 }, (_, n) => bulkOrder(plan, n));
  expect(orders[17]).toEqual(bulkOrder(plan, 17));
  expect(new Set(orders.map(({ kitchen }) => kitchen)).size).toBe(24);
  const failing = orders.filter(({ items }) => items[0]?.sku === OFF_MENU_SKU);
  expect(failing.length).toBeGreaterThan(400);
  expect(failing.length).toBeLessThan(600);
});
