import type { Database } from "bun:sqlite";

/** The positions of a fold: the next offset of each partition, by topic. */
export type Positions = Record<string, Record<number, number>>;

/** A topic as the broker has it now. */
export interface TopicLog {
  /** Undefined where the broker is too old to provide it. */
  id: string | undefined;
  /** The number of partitions; `ends` may have fewer. */
  partitions: number;
  ends: { partition: number; low: number; high: number }[];
}

/** Records that the log no longer has, `to` being the offset after the last. */
export interface Gap {
  topic: string;
  partition: number;
  from: number;
  to: number;
  /**
   * Whether they were read before they were lost: then they are in the metrics, which can't be
   * computed again.
   */
  counted: boolean;
  noticed_at: string;
}

/** The number of records in the gaps. */
export function recordsIn(gaps: readonly Gap[]): number {
  return gaps.reduce((sum, { from, to }) => sum + to - from, 0);
}

/** The gaps as text, for a problem's detail. */
export function gapsInWords(gaps: readonly Omit<Gap, "noticed_at">[]): string {
  return gaps
    .map(({ from, partition, to, topic }) => `${topic} ${partition}: offsets ${from} to ${to - 1}`)
    .join("; ");
}

interface PositionRow {
  topic: string;
  partition: number;
  topic_id: string | null;
  first_offset: number;
  next_offset: number;
}

/** For a topic that is no longer read: the namespace has changed. */
const NO_LOG: TopicLog = { id: undefined, partitions: 0, ends: [] };

/**
 * Records that a log has lost and that a fold has read, or should have read. Kafka keeps a log's
 * end, not its beginning: records are deleted by retention or by hand, and a topic may be deleted
 * and recreated.
 */
export class Gaps {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Compares a generation with the logs: stores the records that they have lost, and sets a
   * position that is before a log's beginning, after its end or in a topic that was recreated to
   * the log's beginning. Event ids ensure that nothing is counted twice. `earlier` are the
   * positions from before the logs were fetched. Returns whether a position has changed, and
   * whether that is because a log was replaced or has become shorter. Call it inside
   * `store.commit`.
   */
  reconcile(
    generation: number,
    earlier: Positions,
    logs: Record<string, TopicLog>,
  ): { isReplaced: boolean; moved: boolean } {
    let isReplaced = false;
    let moved = false;
    for (const row of this.#positionsOf(generation)) {
      const { partition, topic } = row;
      const before = earlier[topic]?.[partition] ?? 0;
      if (this.#dropPosition(generation, row, logs[topic] ?? NO_LOG, before)) isReplaced = true;
    }
    for (const [topic, log] of Object.entries(logs)) {
      for (const { low, partition } of log.ends) {
        if (this.#moveToBeginning(generation, topic, partition, low, log.id)) moved = true;
      }
    }
    return { isReplaced, moved: moved || isReplaced };
  }

  /** Deletes a position in a log that no longer exists, or is shorter; returns whether it did. */
  #dropPosition(generation: number, row: PositionRow, log: TopicLog, before: number): boolean {
    const { first_offset, next_offset, partition, topic, topic_id } = row;
    const high = log.ends.find((end) => end.partition === partition)?.high ?? Infinity;
    const isOther = topic_id !== null && log.id !== undefined && topic_id !== log.id;
    const isKnown = topic_id !== null && topic_id === log.id;
    if (!isOther && partition < log.partitions && before <= high) return false;
    // The same topic has lost only its end; another topic has none of the records that were read.
    const from = isKnown && before > high ? Math.max(first_offset, high) : first_offset;
    this.#noteGap(generation, { topic, partition, from, to: next_offset, counted: true });
    this.#db
      .query("DELETE FROM positions WHERE generation = ? AND topic = ? AND partition = ?")
      .run(generation, topic, partition);
    return true;
  }

  /** Stores what is lost before the log's beginning; returns whether the position was there. */
  #moveToBeginning(
    generation: number,
    topic: string,
    partition: number,
    low: number,
    id: string | undefined,
  ): boolean {
    const row = this.#positionsOf(generation).find(
      (own) => own.topic === topic && own.partition === partition,
    );
    const { first_offset: first, next_offset: next } = row ?? { first_offset: 0, next_offset: 0 };
    const gap = { topic, partition };
    this.#noteGap(generation, { ...gap, from: first, to: Math.min(low, next), counted: true });
    this.#noteGap(generation, { ...gap, from: next, to: low, counted: false });
    this.#db
      .query(
        `INSERT INTO positions (generation, topic, partition, next_offset, first_offset, topic_id) VALUES (?, ?, ?, ?, ?, ?)
         ON CONFLICT DO UPDATE SET next_offset = excluded.next_offset,
           first_offset = excluded.first_offset, topic_id = coalesce(excluded.topic_id, topic_id)`,
      )
      .run(generation, topic, partition, Math.max(next, low), Math.max(first, low), id ?? null);
    return low > next;
  }

  #noteGap(
    generation: number,
    { counted, from, partition, to, topic }: Omit<Gap, "noticed_at">,
  ): void {
    if (from >= to) return;
    this.#db
      .query(
        "INSERT INTO gaps (generation, topic, partition, from_offset, to_offset, counted, noticed_at) VALUES (?, ?, ?, ?, ?, ?, ?)",
      )
      .run(generation, topic, partition, from, to, Number(counted), new Date().toISOString());
  }

  /** The gaps of one generation, oldest first. */
  of(generation: number): Gap[] {
    return this.#db
      .query<Omit<Gap, "counted"> & { counted: number }, [number]>(
        `SELECT topic, partition, from_offset AS "from", to_offset AS "to", counted, noticed_at
         FROM gaps WHERE generation = ? ORDER BY gap`,
      )
      .all(generation)
      .map((gap) => ({ ...gap, counted: gap.counted === 1 }));
  }

  #positionsOf(generation: number): PositionRow[] {
    return this.#db
      .query<PositionRow, [number]>("SELECT * FROM positions WHERE generation = ?")
      .all(generation);
  }
}
