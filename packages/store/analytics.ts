import type { Database } from "bun:sqlite";
import { without } from "@lab/runtime/protections";
import {
  type Counter,
  countedBy,
  digestOf,
  type FoldedEvent,
  type Metrics,
  metricsOf,
} from "@lab/workflow/metrics";
import type { Migration } from "./store.ts";

export const ANALYTICS_SCHEMA: Migration[] = [
  {
    name: "analytics-1",
    sql: `
      CREATE TABLE generations (
        generation INTEGER PRIMARY KEY AUTOINCREMENT,
        state TEXT NOT NULL CHECK (state IN ('replaying','live','retired')),
        started_at TEXT NOT NULL,
        finished_at TEXT,
        targets TEXT NOT NULL,
        reset_to TEXT,
        digest_before TEXT,
        digest_after TEXT,
        processed_orders INTEGER NOT NULL DEFAULT 0,
        first_processed_ms INTEGER,
        last_processed_ms INTEGER
      ) STRICT;
      CREATE UNIQUE INDEX one_replay ON generations (state) WHERE state = 'replaying';
      CREATE TABLE counters (
        generation INTEGER NOT NULL REFERENCES generations,
        metric TEXT NOT NULL,
        kitchen TEXT NOT NULL,
        bucket TEXT NOT NULL,
        n INTEGER NOT NULL,
        PRIMARY KEY (generation, metric, kitchen, bucket)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE positions (
        generation INTEGER NOT NULL REFERENCES generations,
        topic TEXT NOT NULL,
        partition INTEGER NOT NULL,
        next_offset INTEGER NOT NULL,
        PRIMARY KEY (generation, topic, partition)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE seen (
        generation INTEGER NOT NULL REFERENCES generations,
        event_id TEXT NOT NULL,
        PRIMARY KEY (generation, event_id)
      ) STRICT, WITHOUT ROWID;`,
  },
];

/** Where a fold stands: the next offset of each partition, by topic. */
export type Positions = Record<string, Record<number, number>>;

export interface Generation {
  generation: number;
  state: "replaying" | "live" | "retired";
  started_at: string;
  finished_at: string | null;
  /** Where the metrics stood that a replay must find again. */
  targets: Positions;
  /** The group's offsets after they were set back; null while that is not done. */
  reset_to: Positions | null;
  digest_before: string | null;
  digest_after: string | null;
}

/** What was read at one offset; no event when the record was malformed. */
export interface FoldedRecord {
  offset: number;
  event: FoldedEvent | undefined;
}

type GenerationRow = Omit<Generation, "targets" | "reset_to"> & {
  targets: string;
  reset_to: string | null;
  processed_orders: number;
  first_processed_ms: number | null;
  last_processed_ms: number | null;
};

/** The fold of the log, in generations: one is live, a replay makes another. Call the writers inside `store.commit`. */
export class Analytics {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Makes the first generation of a new database. */
  open(): void {
    if (this.#row("live")) return;
    this.#db
      .query("INSERT INTO generations (state, started_at, targets) VALUES ('live', ?, '{}')")
      .run(new Date().toISOString());
  }

  live(): Generation {
    return generationOf(this.#row("live") as GenerationRow);
  }

  /** The replay that is under way. */
  replaying(): Generation | undefined {
    const row = this.#row("replaying");
    return row ? generationOf(row) : undefined;
  }

  /** The replay that is under way, or the last one that ended. */
  lastReplay(): Generation | undefined {
    const row = this.#db
      .query<GenerationRow, []>(
        "SELECT * FROM generations WHERE digest_before IS NOT NULL ORDER BY generation DESC LIMIT 1",
      )
      .get();
    return row ? generationOf(row) : undefined;
  }

  /** Begins a replay that ends where the live generation stands now. */
  beginReplay(): void {
    const { generation } = this.live();
    this.#db
      .query(
        "INSERT INTO generations (state, started_at, targets, digest_before) VALUES ('replaying', ?, ?, ?)",
      )
      .run(
        new Date().toISOString(),
        JSON.stringify(this.positions(generation)),
        digestOf(this.metrics(generation)),
      );
  }

  /**
   * Notes where a replay's group was set back to, the first time that it was.
   * The replay stands there: of a partition whose old records are gone it has
   * nothing to fold.
   */
  noteReset(generation: number, positions: Positions): void {
    this.#db
      .query("UPDATE generations SET reset_to = coalesce(reset_to, ?) WHERE generation = ?")
      .run(JSON.stringify(positions), generation);
    const stand = this.#db.query(
      "INSERT INTO positions VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
    );
    for (const [topic, offsets] of Object.entries(positions)) {
      for (const [partition, offset] of Object.entries(offsets)) {
        stand.run(generation, topic, Number(partition), offset);
      }
    }
  }

  /** The replay takes the live generation's place, whose rows go. */
  swapIn(): Generation {
    const replay = this.replaying() as Generation;
    const { generation: old } = this.live();
    this.#db.run("UPDATE generations SET state = 'retired' WHERE generation = ?", [old]);
    for (const table of ["counters", "positions", "seen"]) {
      this.#db.run(`DELETE FROM ${table} WHERE generation = ?`, [old]);
    }
    this.#db
      .query(
        "UPDATE generations SET state = 'live', finished_at = ?, digest_after = ? WHERE generation = ?",
      )
      .run(new Date().toISOString(), digestOf(this.metrics(replay.generation)), replay.generation);
    return this.lastReplay() as Generation;
  }

  /**
   * Folds records of one partition, in offset order, `next` being the offset
   * after the last. What was folded before is ignored: by its offset when the
   * same record is read again, by its event id when the same event was written
   * twice.
   */
  fold(
    generation: number,
    topic: string,
    partition: number,
    records: readonly FoldedRecord[],
    next: number,
  ): void {
    const stands = this.positions(generation)[topic]?.[partition] ?? 0;
    const from = without("stored-offset") ? 0 : stands;
    if (next <= from) return;
    const see = this.#db.query("INSERT INTO seen VALUES (?, ?) ON CONFLICT DO NOTHING");
    const count = this.#db.query(
      "INSERT INTO counters VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
    );
    let orders = 0;
    for (const { offset, event } of records) {
      if (offset < from || !event) continue;
      const isNew = see.run(generation, event.id).changes === 1;
      if (!isNew && !without("deduplication")) continue;
      const { metric, kitchen, bucket } = countedBy(
        without("event-time") ? { ...event, time: new Date().toISOString() } : event,
      );
      count.run(generation, metric, kitchen, bucket);
      if (metric === "placed") orders += 1;
    }
    this.#noteProcessed(generation, orders);
    this.#db
      .query(
        "INSERT INTO positions VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
      )
      .run(generation, topic, partition, next);
  }

  #noteProcessed(generation: number, orders: number): void {
    if (orders === 0) return;
    this.#db
      .query(
        `UPDATE generations SET processed_orders = processed_orders + ?1,
           first_processed_ms = coalesce(first_processed_ms, ?2), last_processed_ms = ?2
         WHERE generation = ?3`,
      )
      .run(orders, Date.now(), generation);
  }

  positions(generation: number): Positions {
    const rows = this.#db
      .query<{ topic: string; partition: number; next_offset: number }, [number]>(
        "SELECT topic, partition, next_offset FROM positions WHERE generation = ? ORDER BY topic, partition",
      )
      .all(generation);
    const positions: Positions = {};
    for (const { topic, partition, next_offset } of rows) {
      (positions[topic] ??= {})[partition] = next_offset;
    }
    return positions;
  }

  metrics(generation: number): Metrics {
    return metricsOf(
      this.#db
        .query<Counter, [number]>(
          "SELECT metric, kitchen, bucket, n FROM counters WHERE generation = ? ORDER BY metric, kitchen, bucket",
        )
        .all(generation),
    );
  }

  /**
   * Orders per minute of the clock while they were folded: the counter-example.
   * It measures the reader, not the orders, so a replay gives another number.
   */
  processingTimeRate(generation: number): number {
    const row = this.#db
      .query<GenerationRow, [number]>("SELECT * FROM generations WHERE generation = ?")
      .get(generation);
    const spanMs = (row?.last_processed_ms ?? 0) - (row?.first_processed_ms ?? 0);
    if (!row || spanMs <= 0) return 0;
    return Math.round((row.processed_orders / spanMs) * 60_000);
  }

  #row(state: Generation["state"]): GenerationRow | null {
    return this.#db
      .query<GenerationRow, [string]>("SELECT * FROM generations WHERE state = ?")
      .get(state);
  }
}

function generationOf(row: GenerationRow): Generation {
  const { generation, state, started_at, finished_at } = row;
  const { digest_before, digest_after } = row;
  return {
    generation,
    state,
    started_at,
    finished_at,
    targets: JSON.parse(row.targets) as Positions,
    reset_to: row.reset_to ? (JSON.parse(row.reset_to) as Positions) : null,
    digest_before,
    digest_after,
  };
}

/** Whether `positions` is at or past every one of `targets`. */
export function covers(positions: Positions, targets: Positions): boolean {
  return Object.entries(targets).every(([topic, partitions]) =>
    Object.entries(partitions).every(
      ([partition, target]) => (positions[topic]?.[Number(partition)] ?? 0) >= target,
    ),
  );
}
