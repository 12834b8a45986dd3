import { Database } from "bun:sqlite";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";

/** What there is of a turn that another process has. */
export interface TurnOptions {
  /** Who we are, for those who wait for us: `scripts/lab up sync`. */
  who: string;
  /** Ends the waiting; it throws its reason then. */
  signal?: AbortSignal;
  /** Called once, with who has the turn, if it has to be waited for. */
  onWait: (whose: string) => void;
}

/**
 * Does a job while no other process does one under that file. The lock is SQLite's, which is the
 * system's: it's gone with the process that holds it, however that ends.
 */
export async function inTurn<T>(
  file: string,
  { onWait, signal, who }: TurnOptions,
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
    // It has the turn, and hasn't said so yet.
    return "another scripts/lab";
  }
}

const holderFile = (file: string) => `${file}.by`;
