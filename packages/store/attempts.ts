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
 * So many processes may die with a message alone in their hands until it is dead. Few, since each of
 * them is down for a while; more than one, since a process is also killed by what has nothing to do
 * with its message. RabbitMQ counts each of these deaths as a delivery, and the one before them that
 * made the message suspect: its delivery limit must leave room for that.
 */
export const MOST_DEATHS = 3;

/**
 * Messages that are worked on alone because a process may have died of them, and how many of their
 * attempts never came to an end. Written without waiting for the disk: a process that is killed
 * takes with it nothing that the system has.
 */
export class Attempts {
  readonly #store: Store;

  constructor(store: Store) {
    this.#store = store;
  }

  /**
   * Counts an attempt that begins: "try" it. Says "bury" where it has killed too often to be tried
   * again, and "skip" where it was buried before.
   */
  begin(message: string): "try" | "bury" | "skip" {
    return this.#store.note(() => {
      const { changes } = this.#store.db
        .query(
          `INSERT INTO attempts (message, begun) VALUES (?1, 1)
           ON CONFLICT DO UPDATE SET begun = begun + 1 WHERE begun < ?2`,
        )
        .run(message, MOST_DEATHS);
      if (changes === 1) return "try";
      return this.dead().get(message) === "buried" ? "skip" : "bury";
    });
  }

  /** Its attempt came to an end, whichever: nobody died of it. */
  end(message: string): void {
    this.#store.note(() => {
      this.#store.db.query("DELETE FROM attempts WHERE message = ?").run(message);
    });
  }

  /** It lies among the dead letters. Remembered where the message itself stays and is read again. */
  buried(message: string): void {
    this.#store.note(() => {
      this.#store.db.query("UPDATE attempts SET buried = 1 WHERE message = ?").run(message);
    });
  }

  /** Those that have killed too often: few, if any. */
  dead(): Map<string, "buried" | "unburied"> {
    const rows = this.#store.db
      .query<{ message: string; buried: number }, [number]>(
        "SELECT message, buried FROM attempts WHERE begun >= ?",
      )
      .all(MOST_DEATHS);
    return new Map(rows.map(({ message, buried }) => [message, buried ? "buried" : "unburied"]));
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

/** So many are suspects to be taken one by one; more of them are first taken in portions of as many. */
const SOME = 32;

const THIS_PROCESS = crypto.randomUUID();

/** How many records of a partition may be taken at once, and whether a process may have died of them. */
export interface Portion {
  most: number;
  suspect: boolean;
}

/**
 * What readers of a log have taken last, partition by partition: a log doesn't say what it delivers
 * again. Offsets are those of a portion, from `first` up to but not with `next`. What this process
 * has taken itself it has survived.
 */
export class Taken {
  readonly #process: string;
  readonly #store: Store;

  /** `process` names the one that takes: this one, however often it begins to read. */
  constructor(store: Store, process: string = THIS_PROCESS) {
    this.#process = process;
    this.#store = store;
  }

  /** What may be taken from `offset` on, of up to `most`. Alone if it's one suspect. */
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
    const few = many.next - many.first <= SOME || again.length > 1;
    return { most: few ? 1 : Math.min(SOME, many.next - offset), suspect: true };
  }

  /** Notes what is taken now, before anything is done with it. */
  note(topic: string, partition: number, first: number, next: number, { suspect }: Portion): void {
    // Of one suspect alone its attempts tell.
    if (suspect && next - first === 1) return;
    this.#store.note(() => {
      this.#store.db
        .query("REPLACE INTO taken VALUES (?, ?, ?, ?, ?, ?)")
        .run(topic, partition, suspect ? "some" : "many", first, next, this.#process);
    });
  }
}
