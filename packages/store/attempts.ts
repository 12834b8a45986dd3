import type { Migration, Store } from "./store.ts";

export const ATTEMPTS_SCHEMA: Migration[] = [
  {
    name: "attempts-1",
    sql: `
      CREATE TABLE attempts (
        message TEXT PRIMARY KEY,
        begun INTEGER NOT NULL,
        buried INTEGER NOT NULL DEFAULT 0
      ) STRICT, WITHOUT ROWID;`,
  },
];

/**
 * A message is dead-lettered after so many processes have died while processing it alone. Few,
 * since after each the service is down for a while; more than one, since a process may also die for
 * another reason. RabbitMQ counts each of these deaths as a delivery, and the one before them that
 * made the message suspect: its delivery limit must leave room for that.
 */
export const MAX_DEATHS = 3;

/**
 * Messages that are processed alone because they may have killed a process, and how many of their
 * attempts never ended. Written without fsync: what the operating system has survives the process.
 */
export class Attempts {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Counts an attempt that begins and returns "try"; "dead-letter" where the message has killed too
   * many processes to be tried again, "skip" where it was dead-lettered before.
   */
  begin(message: string): "try" | "dead-letter" | "skip" {
    return this.#store.note(() => {
      const { changes } = this.#store.db
        .query(
          `INSERT INTO attempts (message, begun) VALUES (?1, 1)
           ON CONFLICT DO UPDATE SET begun = begun + 1 WHERE begun < ?2`,
        )
        .run(message, MAX_DEATHS);
      if (changes === 1) return "try";
      return this.dead().get(message) === "dead-lettered" ? "skip" : "dead-letter";
    });
  }

  /** The attempt ended, whatever its result: it killed no process. */
  end(message: string): void {
    this.#store.note(() => {
      this.#store.db.query("DELETE FROM attempts WHERE message = ?").run(message);
    });
  }

  /**
   * The message is among the dead letters. Remembered where the message itself stays in the log and
   * is read again.
   */
  deadLettered(message: string): void {
    this.#store.note(() => {
      this.#store.db.query("UPDATE attempts SET buried = 1 WHERE message = ?").run(message);
    });
  }

  /** The messages that have killed too many processes: few, if any. */
  dead(): Map<string, "dead-lettered" | "pending"> {
    const rows = this.#store.db
      .query<{ message: string; buried: number }, [number]>(
        "SELECT message, buried FROM attempts WHERE begun >= ?",
      )
      .all(MAX_DEATHS);
    return new Map(
      rows.map(({ message, buried }) => [message, buried ? "dead-lettered" : "pending"]),
    );
  }
}

export const TAKEN_SCHEMA: Migration[] = [
  {
    name: "taken-1",
    sql: `
      CREATE TABLE taken (
        topic TEXT NOT NULL,
        partition INTEGER NOT NULL,
        size TEXT NOT NULL CHECK (size IN ('many','some')),
        first INTEGER NOT NULL,
        next INTEGER NOT NULL,
        process TEXT NOT NULL,
        PRIMARY KEY (topic, partition, size)
      ) STRICT, WITHOUT ROWID;`,
  },
];

/**
 * Up to so many suspect records are taken one by one; more are first taken in portions of this
 * size.
 */
const SMALL_PORTION = 32;

const THIS_PROCESS = crypto.randomUUID();

/** How many records of a partition may be taken at once, and whether they may have killed a process. */
export interface Portion {
  most: number;
  suspect: boolean;
}

/**
 * The portion that was taken last of each partition of a log: a log has no redelivery flag. A
 * portion's offsets are from `first` up to, but not including, `next`. Portions that this process
 * took itself didn't kill it.
 */
export class Taken {
  readonly #process: string;
  readonly #store: Store;

  /** `process` identifies the reading process: this one, however often it starts to read. */
  constructor(store: Store, process: string = THIS_PROCESS) {
    this.#process = process;
    this.#store = store;
  }

  /**
   * How much may be taken from `offset` on, at most `most`; one record if it is a single suspect.
   */
  portion(topic: string, partition: number, offset: number, most: number): Portion {
    const again = this.#store.db
      .query<
        { size: "many" | "some"; first: number; next: number },
        [string, number, number, string]
      >(
        `SELECT size, first, next FROM taken
         WHERE topic = ?1 AND partition = ?2 AND first <= ?3 AND next > ?3 AND process <> ?4`,
      )
      .all(topic, partition, offset, this.#process);
    const many = again.find(({ size }) => size === "many");
    if (many === undefined) return { most, suspect: false };
    const few = many.next - many.first <= SMALL_PORTION || again.length > 1;
    return { most: few ? 1 : Math.min(SMALL_PORTION, many.next - offset), suspect: true };
  }

  /** Stores the portion that is taken, before it is processed. */
  note(topic: string, partition: number, first: number, next: number, { suspect }: Portion): void {
    // A single suspect is tracked by its attempts.
    if (suspect && next - first === 1) return;
    this.#store.note(() => {
      this.#store.db
        .query("REPLACE INTO taken VALUES (?, ?, ?, ?, ?, ?)")
        .run(topic, partition, suspect ? "some" : "many", first, next, this.#process);
    });
  }
}
