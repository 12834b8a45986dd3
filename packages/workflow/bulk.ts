import type { OrderItem } from "@lab/contracts/order";
import { KITCHENS, SKUS } from "./menu.ts";
import { draw } from "./random.ts";

export interface BulkPlan {
  seed: number;
  /** How many kitchens take part, 1 to 25; `k01` is the first, `main` the last. */
  kitchens: number;
  /** Share of the orders, 0 to 1, that ask for an item that isn't on the menu. */
  failRate: number;
}

export interface BulkOrder {
  user_id: string;
  kitchen: string;
  items: OrderItem[];
}

/** What a failing order of a bulk stream asks for. */
export const OFF_MENU_SKU = "lobster";

/**
 * The n-th order of the stream, n from 0. The failure is part of the order, so a replay gives the
 * same result.
 */
export function bulkOrder(plan: BulkPlan, n: number): BulkOrder {
  const at = (salt: number) => draw(plan.seed + salt, n);
  const kitchen = KITCHENS[(1 + pick(at(1), plan.kitchens)) % KITCHENS.length];
  const fails = at(0) < plan.failRate;
  const sku = fails ? OFF_MENU_SKU : SKUS[pick(at(2), SKUS.length)];
  return {
    user_id: `u${pick(at(3), 5000)}`,
    kitchen: kitchen as string,
    items: [{ sku: sku as string, qty: 1 + pick(at(4), 3) }],
  };
}

function pick(share: number, choices: number): number {
  return Math.floor(share * choices);
}
