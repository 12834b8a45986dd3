import type { Database } from "bun:sqlite";
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

export interface Once {
  kind: "processed" | "duplicate";
  /** What the effect returned, now or when the message came first. */
  outcome: string;
}

/** The processed messages of a consumer, each with its outcome. */
export class Ledger {
  readonly #db: Database;
  readonly #consumer: string;

  constructor(db: Database, consumer: string) {
    this.#db = db;
    this.#consumer = consumer;
  }

  /**
   * Runs `effect` unless this message was processed before; a duplicate gets
   * the stored outcome. Call it inside `store.commit`: only because effect and
   * row commit together is "at least once" on the wire "exactly once" here.
   */
  once(eventId: string, effect: () => string): Once {
    if (without("ledger")) return { kind: "processed", outcome: effect() };
    const known = this.#db
      .query<{ outcome: string }, [string, string]>(
        "SELECT outcome FROM ledger WHERE consumer = ? AND event_id = ?",
      )
      .get(this.#consumer, eventId);
    if (known) return { kind: "duplicate", outcome: known.outcome };
    const outcome = effect();
    this.#db
      .query("INSERT INTO ledger VALUES (?, ?, ?, ?)")
      .run(this.#consumer, eventId, outcome, new Date().toISOString());
    return { kind: "processed", outcome };
  }
}
