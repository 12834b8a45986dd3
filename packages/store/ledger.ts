import type { Database } from "bun:sqlite";
import type { Log } from "@lab/runtime/log";
import { without } from "@lab/runtime/protections";
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
];

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
   * row commit together is "at least once" on the wire "exactly once" here.
   */
  once(eventId: string, effect: () => string): string {
    if (without("ledger")) return effect();
    const known = this.#db
      .query<{ outcome: string }, [string, string]>(
        "SELECT outcome FROM ledger WHERE consumer = ? AND event_id = ?",
      )
      .get(this.#consumer, eventId);
    if (known) {
      this.#log.info("message_repeated", { event_id: eventId });
      return known.outcome;
    }
    const outcome = effect();
    this.#db
      .query("INSERT INTO ledger VALUES (?, ?, ?, ?)")
      .run(this.#consumer, eventId, outcome, new Date().toISOString());
    return outcome;
  }
}
