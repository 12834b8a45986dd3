import type { Database } from "bun:sqlite";
import { newId } from "@lab/contracts/ids";
import {
  type Order,
  type OrderItem,
  type OrderStatus,
  type PlaceOrder,
  repeatedSku,
} from "@lab/contracts/order";
import { Problem } from "@lab/contracts/problem";
import { type Owed, owed } from "@lab/runtime/health";
import { DEFAULT_KITCHEN } from "@lab/workflow/menu";
import { mayBecome } from "@lab/workflow/order-status";
import type { Migration } from "./store.ts";

export const ORDERS_SCHEMA: Migration[] = [
  {
    name: "orders-1",
    sql: `
      CREATE TABLE orders (
        order_id TEXT PRIMARY KEY,
        user_id TEXT NOT NULL,
        kitchen TEXT NOT NULL,
        items TEXT NOT NULL,
        status TEXT NOT NULL CHECK (status IN ('placed','reserved','confirmed','failed')),
        reason TEXT,
        placed_at TEXT NOT NULL,
        idempotency_key TEXT UNIQUE,
        CHECK ((status = 'failed') = (reason IS NOT NULL))
      ) STRICT, WITHOUT ROWID;
      CREATE INDEX orders_by_status ON orders (status, order_id);
      CREATE TABLE order_steps (
        order_id TEXT NOT NULL REFERENCES orders,
        status TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (order_id, status)
      ) STRICT, WITHOUT ROWID;`,
  },
];

/** The reason of an order that failed before any other service knew of it. */
const FAILED_WITHOUT_EFFECT = "inventory_unreachable";

/** A request's order: new, or the earlier one with the same key. */
export interface Accepted {
  kind: "placed" | "known";
  order: Order;
}

interface OrderRow {
  order_id: string;
  user_id: string;
  kitchen: string;
  items: string;
  status: OrderStatus;
  reason: string | null;
  placed_at: string;
}

/** The orders and the history of their steps. Call the writers inside `store.commit`. */
export class Orders {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** The orders whose outcome is not known yet. */
  unanswered(): Owed {
    // Ids sort by creation time.
    const row = this.#db
      .query<{ n: number; oldest: string | null }, []>(
        `SELECT count(*) AS n, (SELECT placed_at FROM orders
           WHERE status = 'placed' ORDER BY order_id LIMIT 1) AS oldest
         FROM orders WHERE status = 'placed'`,
      )
      .get();
    return owed(row?.n ?? 0, row?.oldest);
  }

  /**
   * Stores a new order, unless its idempotency key is known: then returns that key's order, except
   * one that failed without any effect, whose key the new order takes over. Throws a `Problem` for
   * a sku that occurs twice and for a key that was used with another body.
   */
  placeOnce(request: PlaceOrder, idempotencyKey?: string): Accepted {
    const { user_id, items, kitchen = DEFAULT_KITCHEN } = request;
    const sku = repeatedSku(items);
    if (sku !== undefined) {
      throw new Problem("invalid_request", `body/items: ${sku} stands twice`);
    }
    const known = idempotencyKey ? this.#findByKey(idempotencyKey) : undefined;
    if (known) {
      if (!Bun.deepEquals([known.user_id, known.kitchen, known.items], [user_id, kitchen, items])) {
        throw new Problem("idempotency_key_reused", "take a new key", {
          orderId: known.order_id,
        });
      }
      if (known.reason !== FAILED_WITHOUT_EFFECT) return { kind: "known", order: known };
      this.#db
        .query("UPDATE orders SET idempotency_key = NULL WHERE order_id = ?")
        .run(known.order_id);
    }
    const order: Order = {
      order_id: newId(),
      user_id,
      kitchen,
      items,
      status: "placed",
      placed_at: new Date().toISOString(),
      steps: [],
    };
    this.#db
      .query(
        `INSERT INTO orders (order_id, user_id, kitchen, items, status, placed_at, idempotency_key)
         VALUES (?, ?, ?, ?, 'placed', ?, ?)`,
      )
      .run(
        order.order_id,
        user_id,
        kitchen,
        JSON.stringify(items),
        order.placed_at,
        idempotencyKey ?? null,
      );
    this.#noteStep(order.order_id, "placed", order.placed_at);
    return { kind: "placed", order };
  }

  /**
   * Moves an order to a later status; false when that would be a step back or the order is unknown.
   * `at` is when the step happened, RFC 3339.
   */
  advance(orderId: string, status: OrderStatus, at: string, reason?: string): boolean {
    const row = this.#db
      .query<{ status: OrderStatus }, [string]>("SELECT status FROM orders WHERE order_id = ?")
      .get(orderId);
    if (!row) return false;
    if (!mayBecome(row.status, status)) {
      // Received late: the confirmation overtook the reservation. It is added to the history, the
      // status stays.
      if (row.status === "confirmed" && status === "reserved") {
        this.#noteStep(orderId, status, at);
      }
      return false;
    }
    this.#db
      .query("UPDATE orders SET status = ?, reason = ? WHERE order_id = ?")
      .run(status, reason ?? null, orderId);
    this.#noteStep(orderId, status, at);
    return true;
  }

  #noteStep(orderId: string, status: OrderStatus, at: string): void {
    this.#db
      .query("INSERT INTO order_steps VALUES (?, ?, ?) ON CONFLICT DO NOTHING")
      .run(orderId, status, at);
  }

  /** Throws a `Problem` for an unknown order. */
  get(orderId: string): Order {
    const row = this.#db
      .query<OrderRow, [string]>("SELECT * FROM orders WHERE order_id = ?")
      .get(orderId);
    if (!row) throw new Problem("order_not_found", orderId, { orderId });
    return this.#order(row);
  }

  #findByKey(key: string): Order | undefined {
    const row = this.#db
      .query<OrderRow, [string]>("SELECT * FROM orders WHERE idempotency_key = ?")
      .get(key);
    return row ? this.#order(row) : undefined;
  }

  /** Up to `limit` orders with ids above `after`, oldest first. */
  list(query: {
    status?: OrderStatus | undefined;
    limit: number;
    after?: string | undefined;
  }): Order[] {
    const rows = query.status
      ? this.#db
          .query<OrderRow, [string, string, number]>(
            "SELECT * FROM orders WHERE status = ? AND order_id > ? ORDER BY order_id LIMIT ?",
          )
          .all(query.status, query.after ?? "", query.limit)
      : this.#db
          .query<OrderRow, [string, number]>(
            "SELECT * FROM orders WHERE order_id > ? ORDER BY order_id LIMIT ?",
          )
          .all(query.after ?? "", query.limit);
    return rows.map((row) => this.#order(row));
  }

  /** Up to `limit` ids above `after` of the orders in that status, oldest first. */
  inStatus(status: OrderStatus, limit: number, after: string): string[] {
    return this.#db
      .query<{ order_id: string }, [string, string, number]>(
        "SELECT order_id FROM orders WHERE status = ? AND order_id > ? ORDER BY order_id LIMIT ?",
      )
      .all(status, after, limit)
      .map((row) => row.order_id);
  }

  /** The orders that wait in that status, except those that are being processed. */
  owed(status: OrderStatus, inHand: ReadonlySet<string>): Owed {
    // Ids sort by creation time.
    const row = this.#db
      .query<{ n: number; oldest: string | null }, [string, string]>(
        `WITH waiting AS (SELECT order_id FROM orders
           WHERE status = ? AND order_id NOT IN (SELECT value FROM json_each(?)))
         SELECT (SELECT count(*) FROM waiting) AS n,
           (SELECT placed_at FROM orders WHERE order_id = (SELECT min(order_id) FROM waiting)) AS oldest`,
      )
      .get(status, JSON.stringify([...inHand]));
    return owed(row?.n ?? 0, row?.oldest);
  }

  /** `list` as a page: `next_after` asks for the next one, if there is one. */
  page(query: Parameters<Orders["list"]>[0]): {
    orders: Order[];
    next_after?: string;
  } {
    // One more tells whether there is a next page.
    const found = this.list({ ...query, limit: query.limit + 1 });
    const orders = found.slice(0, query.limit);
    const last = found.length > query.limit ? orders.at(-1) : undefined;
    return { orders, ...(last ? { next_after: last.order_id } : {}) };
  }

  #order(row: OrderRow): Order {
    const steps = this.#db
      .query<{ status: OrderStatus; at: string }, [string]>(
        // Not by their times: these may be in the same millisecond, and from two clocks.
        `SELECT status, at FROM order_steps WHERE order_id = ?
         ORDER BY CASE status WHEN 'placed' THEN 0 WHEN 'reserved' THEN 1 ELSE 2 END`,
      )
      .all(row.order_id);
    return {
      order_id: row.order_id,
      user_id: row.user_id,
      kitchen: row.kitchen,
      items: JSON.parse(row.items) as OrderItem[],
      status: row.status,
      ...(row.reason === null ? {} : { reason: row.reason }),
      placed_at: row.placed_at,
      steps,
    };
  }
}
