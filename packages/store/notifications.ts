import type { Database } from "bun:sqlite";
import type { Notification } from "@lab/contracts/order";
import type { Reused } from "./ledger.ts";
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

/** The confirmations that were sent. In this lab a row stands for the sent message. */
export class Notifications {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Sends the confirmation of an order, unless it was sent before. For another order under the same
   * id nothing is sent.
   */
  send(order: {
    order_id: string;
    user_id: string;
    kitchen: string;
  }): { kind: "sent" | "sent_before" } | Reused {
    const { kitchen, order_id, user_id } = order;
    const text = `Your order is being made by kitchen ${kitchen}.`;
    const before = this.#db
      .query<{ user_id: string; text: string }, [string]>(
        "SELECT user_id, text FROM notifications WHERE order_id = ?",
      )
      .get(order_id);
    if (before) {
      return before.user_id === user_id && before.text === text
        ? { kind: "sent_before" }
        : { kind: "reused", detail: `${order_id} is the id of another order` };
    }
    this.#db
      .query("INSERT INTO notifications (order_id, user_id, text, sent_at) VALUES (?, ?, ?, ?)")
      .run(order_id, user_id, text, new Date().toISOString());
    return { kind: "sent" };
  }

  /** Up to `limit` confirmations with order ids above `after`; `next_after` asks for the next, if there are more. */
  page(query: { limit: number; after?: string | undefined }): {
    notifications: Notification[];
    next_after?: string;
  } {
    // One more row shows whether there is a next page.
    const found = this.#db
      .query<Notification, [string, number]>(
        "SELECT order_id, user_id, text, sent_at FROM notifications WHERE order_id > ? ORDER BY order_id LIMIT ?",
      )
      .all(query.after ?? "", query.limit + 1);
    const notifications = found.slice(0, query.limit);
    const last = found.length > query.limit ? notifications.at(-1) : undefined;
    return {
      notifications,
      ...(last ? { next_after: last.order_id } : {}),
    };
  }
}
