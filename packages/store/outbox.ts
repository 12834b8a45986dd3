import type { Database } from "bun:sqlite";
import { encodeEvent, type LabEvent } from "@lab/contracts/events";
import { type Owed, owed } from "@lab/runtime/health";
import type { Migration } from "./store.ts";

export const OUTBOX_SCHEMA: Migration[] = [
  {
    name: "outbox-1",
    sql: `
  CREATE TABLE outbox (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE,
    key TEXT NOT NULL,
    body TEXT NOT NULL,
    sent_at TEXT
  ) STRICT;
  CREATE INDEX outbox_unsent ON outbox (seq) WHERE sent_at IS NULL;`,
  },
];

export interface OutboxRow {
  seq: number;
  event_id: string;
  /** Events with the same key keep their order, but for one that the broker refuses for a while: the record key in Kafka. */
  key: string;
  /** The event as JSON. */
  body: string;
}

/**
 * Events to be published, in order. They are added in the same transaction as their cause and
 * marked once the broker has confirmed them, so a crash between publishing and marking publishes
 * one again and loses none.
 */
export class Outbox {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  add(key: string, event: LabEvent): void {
    this.#db
      .query("INSERT INTO outbox (event_id, key, body) VALUES (?, ?, ?)")
      .run(event.id, key, encodeEvent(event));
  }

  /**
   * The oldest `limit` events that the broker has not confirmed, except the `others`, by their
   * `seq`.
   */
  unsent(limit: number, others: readonly number[] = []): OutboxRow[] {
    return this.#db
      .query<OutboxRow, [string, number]>(
        `SELECT seq, event_id, key, body FROM outbox
         WHERE sent_at IS NULL AND seq NOT IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?`,
      )
      .all(JSON.stringify(others), limit);
  }

  /** The events that the broker has not confirmed. */
  owed(): Owed {
    const row = this.#db
      .query<{ n: number; oldest: string | null }, []>(
        `SELECT count(*) AS n, (SELECT json_extract(body, '$.time') FROM outbox
           WHERE sent_at IS NULL ORDER BY seq LIMIT 1) AS oldest
         FROM outbox WHERE sent_at IS NULL`,
      )
      .get();
    return owed(row?.n ?? 0, row?.oldest);
  }

  markSent(rows: readonly OutboxRow[]): void {
    const at = new Date().toISOString();
    const mark = this.#db.query("UPDATE outbox SET sent_at = ? WHERE seq = ?");
    for (const { seq } of rows) mark.run(at, seq);
  }
}
