import type { Database } from "bun:sqlite";
import { type Owed, owed } from "@lab/runtime/health";
import type { Migration } from "./store.ts";

export const RELEASES_SCHEMA: Migration[] = [
  {
    name: "releases-1",
    sql: `
      CREATE TABLE releases (
        order_id TEXT PRIMARY KEY,
        owed_since TEXT NOT NULL
      ) STRICT, WITHOUT ROWID;`,
  },
];

/** Orders that were abandoned while Inventory may hold stock for them. */
export class Releases {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  add(orderId: string): void {
    this.#db
      .query("INSERT INTO releases VALUES (?, ?) ON CONFLICT DO NOTHING")
      .run(orderId, new Date().toISOString());
  }

  done(orderId: string): void {
    this.#db.query("DELETE FROM releases WHERE order_id = ?").run(orderId);
  }

  /** Up to `limit` order ids above `after` that Inventory has not answered for. */
  pending(limit: number, after: string): string[] {
    return this.#db
      .query<{ order_id: string }, [string, number]>(
        "SELECT order_id FROM releases WHERE order_id > ? ORDER BY order_id LIMIT ?",
      )
      .all(after, limit)
      .map((row) => row.order_id);
  }

  /** The releases that Inventory has not answered. */
  owed(): Owed {
    const row = this.#db
      .query<{ n: number; oldest: string | null }, []>(
        "SELECT count(*) AS n, min(owed_since) AS oldest FROM releases",
      )
      .get();
    return owed(row?.n ?? 0, row?.oldest);
  }
}
