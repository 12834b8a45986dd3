import { constants, Database, SQLiteError } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { isTransient, TransientError, transientWhen } from "@lab/runtime/transient";
import { OpenFiles } from "./file/open-files.ts";

/** One step of a schema. Never changed once released: append another. */
export interface Migration {
  name: string;
  sql: string;
}

interface Job {
  work: () => unknown;
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

/** How long a commit waits for another process that writes. Everything in this process waits with it. */
const BUSY_TIMEOUT_MS = 2000;
/** For so long after a wait in vain nobody waits again: who came meanwhile has waited, too. */
const WAITED_MS = 100;

/** More jobs than this in one transaction add latency and save no fsync worth it. */
const MAX_GROUP = 1000;

/** Locked, full, unreadable, damaged: not now. A broken constraint is a bug. */
const TRANSIENT = /^SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|NOMEM|CORRUPT|NOTADB)/;
transientWhen((error) => error instanceof SQLiteError && TRANSIENT.test(error.code ?? ""));

/** The database's files aren't those any more that are open: nothing would stay of what is stored now. */
export class DatabaseLost extends TransientError {
  override readonly name = "DatabaseLost";
}

/**
 * One service's SQLite file. What `commit` has resolved survives power loss:
 * WAL with `synchronous=FULL` syncs the log at every transaction.
 */
export class Store implements Disposable {
  readonly db: Database;
  readonly path: string;
  readonly #files: OpenFiles;
  #jobs: Job[] = [];
  #scheduled = false;
  /** Whether the last transaction could not be stored. */
  #refused = false;
  #waitedInVainMs = Number.NEGATIVE_INFINITY;

  /** Opens or creates the file and applies what it lacks of `migrations`. */
  constructor(path: string, migrations: readonly Migration[]) {
    this.path = path;
    try {
      mkdirSync(dirname(path), { recursive: true });
      this.db = new Database(path, { create: true, strict: true });
      this.db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
      this.db.run("PRAGMA journal_mode = WAL");
      this.db.run("PRAGMA synchronous = FULL");
      this.db.run("PRAGMA foreign_keys = ON");
      this.#migrate(migrations);
      this.#files = new OpenFiles(path);
    } catch (error) {
      // SQLite doesn't say which file it was.
      throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
    }
  }

  #migrate(migrations: readonly Migration[]): void {
    this.db.run("CREATE TABLE IF NOT EXISTS migrations (name TEXT PRIMARY KEY) STRICT");
    const known = this.db.query("SELECT 1 FROM migrations WHERE name = ?");
    const note = this.db.query("INSERT INTO migrations VALUES (?)");
    this.db
      .transaction(() => {
        for (const { name, sql } of migrations) {
          if (known.get(name)) continue;
          this.db.run(sql);
          note.run(name);
        }
      })
      .immediate();
  }

  /**
   * Group commit. Runs `work` inside a transaction that it shares with all
   * others that are waiting, so that they share one fsync. Resolves with what
   * `work` returned, after the commit; rejects with what it threw, its own
   * writes undone and no one else's. `work` must be synchronous.
   */
  commit<T>(work: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      this.#jobs.push({ work, resolve, reject });
      if (this.#scheduled) return;
      this.#scheduled = true;
      // After this turn's I/O: requests that arrived together commit together.
      setImmediate(() => this.#flush());
    });
  }

  /**
   * Runs `work` at once, in a transaction of its own that is not synced: what it has written
   * outlives this process, though not a power cut.
   */
  note<T>(work: () => T): T {
    this.db.run("PRAGMA synchronous = NORMAL");
    try {
      return this.#write(work);
    } finally {
      this.db.run("PRAGMA synchronous = FULL");
    }
  }

  /** Runs `work` in a transaction. Deferred, it would fail with SQLITE_BUSY_SNAPSHOT after its first read. */
  #write<T>(work: () => T): T {
    const waits = performance.now() - this.#waitedInVainMs > WAITED_MS;
    try {
      if (!waits) this.db.run("PRAGMA busy_timeout = 0");
      return this.db.transaction(work).immediate();
    } catch (error) {
      const isBusy = error instanceof SQLiteError && error.code === "SQLITE_BUSY";
      if (isBusy && waits) this.#waitedInVainMs = performance.now();
      throw error;
    } finally {
      if (!waits) this.db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    }
  }

  #flush(): void {
    this.#scheduled = false;
    const jobs = this.#jobs.splice(0, MAX_GROUP);
    if (this.#jobs.length > 0) {
      this.#scheduled = true;
      setImmediate(() => this.#flush());
    }
    try {
      this.mustStand();
      const settle = this.#write(() => jobs.map((job) => this.#runAlone(job)));
      this.#refused = false;
      for (const settleOne of settle) settleOne();
    } catch (error) {
      this.#refused = isTransient(error);
      for (const { reject } of jobs) reject(error);
    }
  }

  /** Runs one job in a savepoint; what it returns tells the caller the result. */
  #runAlone({ work, resolve, reject }: Job): () => void {
    this.db.run("SAVEPOINT job");
    try {
      const value = work() as never;
      this.db.run("RELEASE job");
      return () => resolve(value);
    } catch (error) {
      // Where the disk is full, SQLite has taken the whole transaction back: nobody's work stands.
      if (!this.db.inTransaction) throw error;
      this.db.run("ROLLBACK TO job");
      this.db.run("RELEASE job");
      return () => reject(error);
    }
  }

  /** Throws unless what is stored now would stay. */
  mustStand(): void {
    const problem = this.#files.problem();
    if (problem !== undefined) throw new DatabaseLost(problem);
  }

  /** What is wrong with the database's files, for somebody to act on. */
  problems(): string[] {
    const problem = this.#files.problem();
    return problem === undefined ? [] : [problem];
  }

  /** True when what is stored now would stay, as far as is known without storing anything. */
  healthy(): boolean {
    try {
      this.mustStand();
      // Looking doesn't tell whether it can be written again.
      if (this.#refused) this.#storeNothing();
      else this.db.query("SELECT 1").get();
      return true;
    } catch {
      return false;
    }
  }

  /** A transaction that changes nothing, and waits for nobody. */
  #storeNothing(): void {
    this.db.run("PRAGMA busy_timeout = 0");
    try {
      this.db.run("UPDATE migrations SET name = name");
      this.#refused = false;
    } finally {
      this.db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
    }
  }

  /** Commits what is waiting and closes the file. */
  close(): void {
    while (this.#jobs.length > 0) this.#flush();
    // SQLite deletes the log by its name: it may be another database's by now.
    if (!this.#files.hasOwnLog()) this.db.fileControl(constants.SQLITE_FCNTL_PERSIST_WAL, 1);
    this.db.close();
    this.#files.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
