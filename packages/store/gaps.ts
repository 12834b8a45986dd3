import type { Database } from "bun:sqlite";

/** Where a fold stands: the next offset of each partition, by topic. */
export type Positions = Record<string, Record<number, number>>;

/** A topic as the broker has it now. */
export interface TopicLog {
  /** Unless the broker is too old to tell. */
  id: string | undefined;
  /** How many there are; those whose ends are known may be fewer. */
  partitions: number;
  ends: { partition: number; low: number; high: number }[];
}

/** Records that the log no longer has, `to` being the offset after the last. */
export interface Gap {
  topic: string;
  partition: number;
  from: number;
  to: number;
  /** Whether they were read before they went: then they are in the metrics, which can't be computed again. */
  counted: boolean;
  noticed_at: string;
}

/** How many records that are. */
export function recordsIn(gaps: readonly Gap[]): number {
  return gaps.reduce((sum, { from, to }) => sum + to - from, 0);
}

/** For a problem's detail. */
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

/** Of a topic that isn't read any more: the namespace is another. */
const NO_LOG: TopicLog = { id: undefined, partitions: 0, ends: [] };

/**
 * What a log has lost of what a fold stands for, or should. Kafka keeps a log's end, not its
 * beginning: records go by retention or by hand, and a topic may be deleted and made anew.
 */
export class Gaps {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /**
   * Holds a generation against the logs: what they no longer have is noted, and a fold that stands
   * in front of a log's beginning, behind its end or in a topic that was made anew stands at its
   * beginning from now on. Event ids see to it that nothing counts twice. `stood` is where it stood
   * before the logs were asked for. Gives whether it stands elsewhere, and whether that is because
   * a log is another or shorter. Call it inside `store.commit`.
   */
  meet(
    generation: number,
    stood: Positions,
    logs: Record<string, TopicLog>,
  ): { isAnew: boolean; moved: boolean } {
    let isAnew = false;
    let moved = false;
    for (const row of this.#positionsOf(generation)) {
      const { partition, topic } = row;
      const before = stood[topic]?.[partition] ?? 0;
      if (this.#endAnew(generation, row, logs[topic] ?? NO_LOG, before)) isAnew = true;
    }
    for (const [topic, log] of Object.entries(logs)) {
      for (const { low, partition } of log.ends) {
        if (this.#beginAt(generation, topic, partition, low, log.id)) moved = true;
      }
    }
    return { isAnew, moved: moved || isAnew };
  }

  /** Forgets a position in a log that isn't there any more, or isn't as long; gives whether it was such a one. */
  #endAnew(generation: number, row: PositionRow, log: TopicLog, stood: number): boolean {
    const { first_offset, next_offset, partition, topic, topic_id } = row;
    const high = log.ends.find((end) => end.partition === partition)?.high ?? Infinity;
    const isOther = topic_id !== null && log.id !== undefined && topic_id !== log.id;
    const isKnown = topic_id !== null && topic_id === log.id;
    if (!isOther && partition < log.partitions && stood <= high) return false;
    // The same topic has lost its end, any other one has nothing of what was read.
    const from = isKnown && stood > high ? Math.max(first_offset, high) : first_offset;
    this.#noteGap(generation, { topic, partition, from, to: next_offset, counted: true });
    this.#db
      .query("DELETE FROM positions WHERE generation = ? AND topic = ? AND partition = ?")
      .run(generation, topic, partition);
    return true;
  }

  /** Notes what is gone in front of the log's beginning; gives whether the fold stood there. */
  #beginAt(
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

  /** Of one generation, oldest first. */
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
