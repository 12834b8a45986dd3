import type { Database } from "bun:sqlite";
import type { Notification } from "@lab/contracts/order";
import { without } from "@lab/runtime/protections";
import type { Migration } from "./store.ts";

export const NOTIFICATIONS_SCHEMA: Migration[] = [
  {
    name: "notifications-1",
    sql: `
      -- No key on order_id: a real customer could be told twice, and only what
      -- can happen can be found by a check.
      CREATE TABLE notifications (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        order_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        text TEXT NOT NULL,
        sent_at TEXT NOT NULL
      ) STRICT;
      CREATE INDEX notifications_by_order ON notifications (order_id);`,
  },
];

/** The confirmations that went out. In this lab a row is the message. */
export class Notifications {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Sends the confirmation of an order; false when it went out before. */
  send(order: { order_id: string; user_id: string; kitchen: string }): boolean {
    const before = this.#db
      .query("SELECT 1 FROM notifications WHERE order_id = ?")
      .get(order.order_id);
    if (before && !without("idempotent-send")) return false;
    this.#db
      .query("INSERT INTO notifications (order_id, user_id, text, sent_at) VALUES (?, ?, ?, ?)")
      .run(
        order.order_id,
        order.user_id,
        `Your order is being made by kitchen ${order.kitchen}.`,
        new Date().toISOString(),
      );
    return true;
  }

  /** Up to `limit` confirmations with order ids above `after`; `next_after` asks for the next. */
  page(query: { limit: number; after?: string | undefined }): {
    notifications: Notification[];
    next_after?: string;
  } {
    const notifications = this.#db
      .query<Notification, [string, number]>(
        "SELECT order_id, user_id, text, sent_at FROM notifications WHERE order_id > ? ORDER BY order_id LIMIT ?",
      )
      .all(query.after ?? "", query.limit);
    const last = notifications.length === query.limit ? notifications.at(-1) : undefined;
    return {
      notifications,
      ...(last ? { next_after: last.order_id } : {}),
    };
  }
}
