import type { Database } from "bun:sqlite";
import { digestOf, type LabEvent } from "@lab/contracts/events";
import type { Log } from "@lab/runtime/log";
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
    // Of a row from before, neither source nor content is known: only whose order it was.
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

/** A message that uses an id again for something else: it is dead. */
export interface Reused {
  kind: "reused";
  detail: string;
}

/** What a message led to, now or when it came first; its id may also be another's. */
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
   * Runs `effect` unless this message was processed before, and returns what it
   * gave, now or then: a duplicate gets the stored outcome. Call it inside `store.commit`: only because effect and
   * row commit together is "at least once" on the wire "exactly once" here. Events are the same by source and id
   * (CloudEvents); one that says something else under them is no duplicate, and has no effect.
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
      this.#log.info("message_repeated", { event_id: id });
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
