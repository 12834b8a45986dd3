import type { Database } from "bun:sqlite";
import { digestOf as digestOfEvent } from "@lab/contracts/events";
import {
  type Counter,
  countedBy,
  digestOf,
  type FoldedEvent,
  type Metrics,
  metricsOf,
} from "@lab/workflow/metrics";
import { type Gap, Gaps, type Positions, type TopicLog } from "./gaps.ts";
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
  {
    name: "analytics-2",
    sql: `
      -- A replay that may take the live generation's place though it is another.
      ALTER TABLE generations ADD COLUMN accepted INTEGER NOT NULL DEFAULT 0;
      -- A replay that is another, and is kept beside the live generation.
      ALTER TABLE generations ADD COLUMN kept INTEGER NOT NULL DEFAULT 0;
      -- The topic's id, where the broker tells it: one that is made anew has another.
      ALTER TABLE positions ADD COLUMN topic_id TEXT;
      ALTER TABLE positions ADD COLUMN first_offset INTEGER NOT NULL DEFAULT 0;
      CREATE TABLE gaps (
        gap INTEGER PRIMARY KEY,
        generation INTEGER NOT NULL REFERENCES generations,
        topic TEXT NOT NULL,
        partition INTEGER NOT NULL,
        from_offset INTEGER NOT NULL,
        to_offset INTEGER NOT NULL,
        counted INTEGER NOT NULL,
        noticed_at TEXT NOT NULL
      ) STRICT;`,
  },
  {
    name: "analytics-seen-sources",
    // For rows written before this migration, neither source nor content is known.
    sql: `
      CREATE TABLE seen_2 (
        generation INTEGER NOT NULL REFERENCES generations,
        event_id TEXT NOT NULL,
        source TEXT NOT NULL,
        digest TEXT NOT NULL,
        PRIMARY KEY (generation, event_id, source)
      ) STRICT, WITHOUT ROWID;
      INSERT INTO seen_2 SELECT generation, event_id, '', '' FROM seen;
      DROP TABLE seen;
      ALTER TABLE seen_2 RENAME TO seen;`,
  },
];

export interface Generation {
  generation: number;
  state: "replaying" | "live" | "retired" | "different";
  started_at: string;
  finished_at: string | null;
  /** The positions of the metrics that a replay must reproduce. */
  targets: Positions;
  /** The group's offsets after they were set back; null while that is not done. */
  reset_to: Positions | null;
  digest_before: string | null;
  digest_after: string | null;
}

/** The record read at one offset; without an event when it was malformed. */
export interface FoldedRecord {
  offset: number;
  event: FoldedEvent | undefined;
}

type GenerationRow = Omit<Generation, "targets" | "reset_to" | "state"> & {
  state: "replaying" | "live" | "retired";
  accepted: number;
  kept: number;
  targets: string;
  reset_to: string | null;
  processed_orders: number;
  first_processed_ms: number | null;
  last_processed_ms: number | null;
};

/**
 * The fold of the log, in generations: one is live, a replay creates another. Call the writers
 * inside `store.commit`.
 */
export class Analytics {
  readonly #db: Database;
  readonly #gaps: Gaps;

  constructor(db: Database) {
    this.#db = db;
    this.#gaps = new Gaps(db);
  }

  /** Creates the first generation in a new database. */
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

  /** The generation into which records are folded: the replay's, or the live one. */
  current(): number {
    return (this.replaying() ?? this.live()).generation;
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

  /**
   * Begins a replay that ends at the live generation's present positions; `accepted` if its result
   * is to go live even when it differs. A generation that was kept beside the live one is deleted.
   */
  beginReplay(accepted: boolean): void {
    for (const { generation } of this.#db
      .query<GenerationRow, []>("SELECT * FROM generations WHERE kept")
      .all()) {
      this.#retire(generation);
    }
    const { generation } = this.live();
    this.#db
      .query(
        "INSERT INTO generations (state, started_at, targets, digest_before, accepted) VALUES ('replaying', ?, ?, ?, ?)",
      )
      .run(
        new Date().toISOString(),
        JSON.stringify(this.positions(generation)),
        digestOf(this.metrics(generation)),
        Number(accepted),
      );
  }

  /**
   * Stores the offsets to which a replay's group was reset, the first time that it was. They are
   * the replay's positions: in a partition whose old records are gone it has nothing to fold before
   * them. From now on `reconcile` updates them.
   */
  noteReset(generation: number, positions: Positions): void {
    this.#db
      .query("UPDATE generations SET reset_to = coalesce(reset_to, ?) WHERE generation = ?")
      .run(JSON.stringify(positions), generation);
    const stand = this.#db.query(
      "INSERT INTO positions (generation, topic, partition, next_offset, first_offset) VALUES (?1, ?2, ?3, ?4, ?4) ON CONFLICT DO NOTHING",
    );
    for (const [topic, offsets] of Object.entries(positions)) {
      for (const [partition, offset] of Object.entries(offsets)) {
        stand.run(generation, topic, Number(partition), offset);
      }
    }
  }

  /**
   * Ends the replay. It replaces the live generation, whose rows are deleted, if its metrics are
   * equal, or accepted as they are; otherwise, and where it isn't complete, it is kept beside it,
   * for inspection.
   */
  endReplay(complete = true): Generation {
    const { accepted, digest_before, generation } = this.#row("replaying") as GenerationRow;
    const digest = digestOf(this.metrics(generation));
    this.#db
      .query(
        "UPDATE generations SET state = 'retired', kept = 1, finished_at = ?, digest_after = ? WHERE generation = ?",
      )
      .run(new Date().toISOString(), digest, generation);
    const isAccepted = accepted === 1 && complete;
    if (digest === digest_before || isAccepted) this.#swapIn(generation, isAccepted);
    return this.lastReplay() as Generation;
  }

  #swapIn(generation: number, accepted: boolean): void {
    const { generation: old } = this.live();
    // Equal metrics have the same gaps as the old ones. Accepted metrics have the gaps that the
    // replay result.
    if (!accepted) {
      this.#db.run("DELETE FROM gaps WHERE generation = ?", [generation]);
      this.#db.run("UPDATE gaps SET generation = ? WHERE generation = ?", [generation, old]);
    }
    this.#retire(old);
    this.#db.run("UPDATE generations SET state = 'live', kept = 0 WHERE generation = ?", [
      generation,
    ]);
  }

  #retire(generation: number): void {
    this.#db.run("UPDATE generations SET state = 'retired', kept = 0 WHERE generation = ?", [
      generation,
    ]);
    for (const table of ["counters", "positions", "seen", "gaps"]) {
      this.#db.run(`DELETE FROM ${table} WHERE generation = ?`, [generation]);
    }
  }

  /** The positions of the live generation and of the replay, to be passed to `reconcile`. */
  positionsByGeneration(): Map<number, Positions> {
    const own = [this.live(), this.replaying()].filter((one) => one !== undefined);
    return new Map(own.map(({ generation }) => [generation, this.positions(generation)]));
  }

  /**
   * Compares the stored positions with the log, as `Gaps.reconcile` does; `earlier` are the
   * positions from before `logs` was fetched. A replay whose targets are in a log that no longer
   * exists can't reach them, and ends. Returns the new gaps, and whether a position has changed.
   */
  reconcile(
    logs: Record<string, TopicLog>,
    earlier: ReadonlyMap<number, Positions>,
  ): { gaps: Gap[]; moved: boolean } {
    const before = this.gaps().length;
    let moved = false;
    for (const [generation, positions] of earlier) {
      const isReplay = generation === this.replaying()?.generation;
      // A replay without positions yet begins at the log's beginning.
      if (isReplay && Object.keys(positions).length === 0) continue;
      const result = this.#gaps.reconcile(generation, positions, logs);
      moved ||= result.moved;
      if (result.isReplaced && isReplay) this.endReplay(false);
    }
    return { gaps: this.gaps().slice(before), moved };
  }

  /**
   * The records that the log has lost of those that the live metrics, or those of `generation`,
   * cover, oldest first.
   */
  gaps(generation = this.live().generation): Gap[] {
    return this.#gaps.of(generation);
  }

  /** Whether the live metrics have counted any event. */
  hasCounted(): boolean {
    const { generation } = this.live();
    return this.#db.query("SELECT 1 FROM seen WHERE generation = ?").get(generation) !== null;
  }

  /**
   * Folds records of one partition, in offset order; `next` is the offset after the last. Records
   * that were folded before are ignored: by offset when the same record is read again, by the
   * event's source and id when the same event was written twice. Returns the offsets of events that
   * reuse a counted source and id with other content; they are not counted. Does nothing, and
   * returns undefined, where the fold's position is no longer `expected`, its position when the
   * records were read.
   */
  fold(
    generation: number,
    topic: string,
    partition: number,
    {
      expected,
      next,
      records,
    }: { expected: number; next: number; records: readonly FoldedRecord[] },
  ): number[] | undefined {
    const position = this.nextOffset(generation, topic, partition);
    if (position !== expected || generation !== this.current()) return undefined;
    if (next <= position) return [];
    const see = this.#db.query("INSERT INTO seen VALUES (?, ?, ?, ?)");
    const seen = this.#db.query<{ digest: string }, [number, string, string]>(
      "SELECT digest FROM seen WHERE generation = ? AND event_id = ? AND source IN (?, '')",
    );
    const count = this.#db.query(
      "INSERT INTO counters VALUES (?, ?, ?, ?, 1) ON CONFLICT DO UPDATE SET n = n + 1",
    );
    let orders = 0;
    const reused: number[] = [];
    for (const { offset, event } of records) {
      if (offset < position || !event) continue;
      const { id, source } = event;
      const digest = digestOfEvent(event);
      const known = seen.get(generation, id, source);
      if (!known) see.run(generation, id, source, digest);
      else if (known.digest !== digest && known.digest !== "") reused.push(offset);
      if (known) continue;
      const { metric, kitchen, bucket } = countedBy(event);
      count.run(generation, metric, kitchen, bucket);
      if (metric === "placed") orders += 1;
    }
    this.#noteProcessed(generation, orders);
    this.#db
      .query(
        "INSERT INTO positions (generation, topic, partition, next_offset) VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset",
      )
      .run(generation, topic, partition, next);
    return reused;
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

  /** The next offset of a partition. */
  nextOffset(generation: number, topic: string, partition: number): number {
    return this.positions(generation)[topic]?.[partition] ?? 0;
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
   * Orders per minute of the reader's clock while they were folded: the counter-example. It
   * measures the reader, not the orders, so a replay gives another number.
   */
  processingTimeRate(generation: number): number {
    const row = this.#db
      .query<GenerationRow, [number]>("SELECT * FROM generations WHERE generation = ?")
      .get(generation);
    const spanMs = (row?.last_processed_ms ?? 0) - (row?.first_processed_ms ?? 0);
    if (!row || spanMs <= 0) return 0;
    return Math.round((row.processed_orders / spanMs) * 60_000);
  }

  #row(state: GenerationRow["state"]): GenerationRow | null {
    return this.#db
      .query<GenerationRow, [string]>("SELECT * FROM generations WHERE state = ?")
      .get(state);
  }
}

function generationOf(row: GenerationRow): Generation {
  const { generation, started_at, finished_at } = row;
  const { digest_before, digest_after } = row;
  return {
    generation,
    state: row.kept === 1 ? "different" : row.state,
    started_at,
    finished_at,
    targets: JSON.parse(row.targets) as Positions,
    reset_to: row.reset_to ? (JSON.parse(row.reset_to) as Positions) : null,
    digest_before,
    digest_after,
  };
}

/** Whether `positions` is at or past all `targets`. */
export function covers(positions: Positions, targets: Positions): boolean {
  return Object.entries(targets).every(([topic, partitions]) =>
    Object.entries(partitions).every(
      ([partition, target]) => (positions[topic]?.[Number(partition)] ?? 0) >= target,
    ),
  );
}
