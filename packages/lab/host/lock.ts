import { Database } from "bun:sqlite";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** Options for waiting for another process. */
export interface LockOptions {
  /** This process's name, shown to waiting processes: `scripts/lab up sync`. */
  who: string;
  /** Aborts the wait, which then throws its reason. */
  signal?: AbortSignal;
  /** Called once, with the lock's holder, if it has to be waited for. */
  onWait: (holder: string) => void;
}

/**
 * Does a job under an exclusive lock on that file. It is SQLite's lock, held by the operating
 * system: it is released when the process ends, in any way.
 */
export async function withLock<T>(
  file: string,
  { onWait, signal, who }: LockOptions,
  job: () => Promise<T>,
): Promise<T> {
  mkdirSync(dirname(file), { recursive: true });
  const lock = new Database(file);
  try {
    let waits = false;
    while (!taken(lock)) {
      if (!waits) onWait(holderOf(file));
      waits = true;
      await Bun.sleep(50);
      signal?.throwIfAborted();
    }
    writeFileSync(holderFile(file), `${who} (process ${process.pid})`);
    return await job();
  } finally {
    lock.close();
  }
}

function taken(lock: Database): boolean {
  try {
    lock.run("BEGIN EXCLUSIVE");
    return true;
  } catch (error) {
    if ((error as { code?: string }).code !== "SQLITE_BUSY") throw error;
    return false;
  }
}

function holderOf(file: string): string {
  try {
    return readFileSync(holderFile(file), "utf8");
  } catch {
    // The holder hasn't written its name yet.
    return "another scripts/lab";
  }
}

const holderFile = (file: string) => `${file}.by`;
