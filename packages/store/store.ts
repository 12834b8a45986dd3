import { constants, Database, SQLiteError } from "bun:sqlite";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { isTransient, TransientError, transientWhen } from "@lab/runtime/transient";
import { OpenFiles } from "./file/open-files.ts";

/** A schema migration. Never change one once released: append another. */
export interface Migration {
  name: string;
  sql: string;
}

interface Job {
  work: () => unknown;
  resolve: (value: never) => void;
  reject: (error: unknown) => void;
}

/** How long a commit waits for another process's write lock. Everything in this process waits with it. */
const BUSY_TIMEOUT_MS = 2000;
/** After a wait in vain no transaction waits for so long: those that came meanwhile have waited, too. */
const WAITED_MS = 100;

/** More jobs than this in one transaction add latency and save no fsync worth it. */
const MAX_GROUP = 1000;

/** Locked, full, unreadable, damaged: transient. A violated constraint is a bug. */
const TRANSIENT = /^SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|NOMEM|CORRUPT|NOTADB)/;
transientWhen((error) => error instanceof SQLiteError && TRANSIENT.test(error.code ?? ""));

/** The open files are no longer the database's: what is written now would be lost. */
export class DatabaseLost extends TransientError {
  override readonly name = "DatabaseLost";
}

/**
 * One service's SQLite file. Work whose `commit` has resolved survives power loss: WAL with
 * `synchronous=FULL` syncs the log at every transaction.
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

  /** Opens or creates the file and applies those of `migrations` that it lacks. */
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
   * Group commit. Runs `work` inside a transaction that it shares with all others that are waiting,
   * so that they share one fsync. Resolves with what `work` returned, after the commit; rejects
   * with what it threw, with only its own writes rolled back. `work` must be synchronous.
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
   * Runs `work` at once, in a transaction of its own that is not synced: its writes survive a crash
   * of this process, but not a power failure.
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
    const run = () => this.db.transaction(work).immediate();
    if (performance.now() - this.#waitedInVainMs <= WAITED_MS) return this.#withoutWaiting(run);
    try {
      return run();
    } catch (error) {
      const isBusy = error instanceof SQLiteError && error.code === "SQLITE_BUSY";
      if (isBusy) this.#waitedInVainMs = performance.now();
      throw error;
    }
  }

  /** Runs `work`, which fails at once where another process has the write lock. */
  #withoutWaiting<T>(work: () => T): T {
    this.db.run("PRAGMA busy_timeout = 0");
    try {
      return work();
    } finally {
      this.db.run(`PRAGMA busy_timeout = ${BUSY_TIMEOUT_MS}`);
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
      this.assertFilesIntact();
      const settle = this.#write(() => jobs.map((job) => this.#runAlone(job)));
      this.#refused = false;
      for (const settleOne of settle) settleOne();
    } catch (error) {
      this.#refused = isTransient(error);
      for (const { reject } of jobs) reject(error);
    }
  }

  /** Runs one job in a savepoint; the returned function settles its promise. */
  #runAlone({ work, resolve, reject }: Job): () => void {
    this.db.run("SAVEPOINT job");
    try {
      const value = work() as never;
      this.db.run("RELEASE job");
      return () => resolve(value);
    } catch (error) {
      // Where the disk is full, SQLite has rolled back the whole transaction: no job's writes
      // remain.
      if (!this.db.inTransaction) throw error;
      this.db.run("ROLLBACK TO job");
      this.db.run("RELEASE job");
      return () => reject(error);
    }
  }

  /** Throws a `DatabaseLost` where what is written now would be lost. */
  assertFilesIntact(): void {
    const problem = this.#files.problem();
    if (problem !== undefined) throw new DatabaseLost(problem);
  }

  /** What is wrong with the database's files, for an operator to act on. */
  problems(): string[] {
    const problem = this.#files.problem();
    return problem === undefined ? [] : [problem];
  }

  /** Whether writes would succeed and last, as far as can be known without changing data. */
  healthy(): boolean {
    try {
      this.assertFilesIntact();
      // A read doesn't show whether the database can be written again.
      if (this.#refused) this.#storeNothing();
      else this.db.query("SELECT 1").get();
      return true;
    } catch {
      return false;
    }
  }

  /** A transaction that changes nothing, and doesn't wait for locks. */
  #storeNothing(): void {
    this.#withoutWaiting(() => this.db.run("UPDATE migrations SET name = name"));
    this.#refused = false;
  }

  /** Commits what is waiting and closes the file. */
  close(): void {
    while (this.#jobs.length > 0) this.#flush();
    // SQLite deletes the log by its path: that file may belong to another database by now.
    if (!this.#files.hasOwnLog()) this.db.fileControl(constants.SQLITE_FCNTL_PERSIST_WAL, 1);
    this.db.close();
    this.#files.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
