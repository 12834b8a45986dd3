import type { Database } from "bun:sqlite";
import { digestOf, type LabEvent } from "@lab/contracts/events";
import type { Log } from "@lab/runtime/log";
import { noteOnSpan } from "@lab/runtime/trace";
import type { Migration } from "./store.ts";

export const LEDGER_SCHEMA: Migration[] = [
  {
    name: "ledger-1",
    sql: `
      CREATE TABLE ledger (
        consumer TEXT NOT NULL,
        event_id TEXT NOT NULL,
        outcome TEXT NOT NULL,
        processed_at TEXT NOT NULL,
        PRIMARY KEY (consumer, event_id)
      ) STRICT, WITHOUT ROWID;`,
  },
  {
    name: "ledger-2",
    // For rows written before this migration, neither source nor content is known, only the order's
    // id.
    sql: `
      CREATE TABLE ledger_2 (
        consumer TEXT NOT NULL,
        source TEXT NOT NULL,
        event_id TEXT NOT NULL,
        digest TEXT NOT NULL,
        outcome TEXT NOT NULL,
        processed_at TEXT NOT NULL,
        PRIMARY KEY (consumer, event_id, source)
      ) STRICT, WITHOUT ROWID;
      INSERT INTO ledger_2
        SELECT consumer, '', event_id, coalesce(outcome ->> 'subject', ''), outcome, processed_at
        FROM ledger;
      DROP TABLE ledger;
      ALTER TABLE ledger_2 RENAME TO ledger;`,
  },
];

/** A message that reuses an id with other content: it is dead-lettered. */
export interface Reused {
  kind: "reused";
  detail: string;
}

/**
 * The outcome of a message, from now or from its first delivery; or the reuse of another message's
 * id.
 */
export type Processed = { kind: "done"; outcome: string } | Reused;

/** The processed messages of a consumer, each with its outcome. */
export class Ledger {
  readonly #db: Database;
  readonly #consumer: string;
  readonly #log: Log;

  constructor(db: Database, consumer: string, log: Log) {
    this.#db = db;
    this.#consumer = consumer;
    this.#log = log;
  }

  /**
   * Runs `effect` unless this message was processed before, and returns its outcome: a duplicate
   * gets the stored one. Call it inside `store.commit`: only because effect and row commit together
   * does at-least-once delivery have exactly one effect here. Source and id identify an event
   * (CloudEvents); one with other content under them is no duplicate, and has no effect.
   */
  once(event: LabEvent, effect: () => Processed): Processed {
    const { id, source, subject } = event;
    const digest = digestOf(event);
    const known = this.#db
      .query<{ outcome: string; digest: string }, [string, string, string]>(
        `SELECT outcome, digest FROM ledger
         WHERE consumer = ? AND event_id = ? AND source IN (?, '')`,
      )
      .get(this.#consumer, id, source);
    if (known && known.digest !== digest && known.digest !== subject) {
      return { kind: "reused", detail: `${source} has used the id ${id} for something else` };
    }
    if (known) {
      this.#log.info("message_repeated", { event_id: id, order_id: subject });
      noteOnSpan(event.traceparent, { duplicate: true });
      return { kind: "done", outcome: known.outcome };
    }
    const processed = effect();
    if (processed.kind === "done") {
      this.#db
        .query("INSERT INTO ledger VALUES (?, ?, ?, ?, ?, ?)")
        .run(this.#consumer, source, id, digest, processed.outcome, new Date().toISOString());
    }
    return processed;
  }
}
