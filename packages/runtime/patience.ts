import { SQLiteError } from "bun:sqlite";
import { type Log, reasonOf } from "./log.ts";
import { cutOff } from "./service.ts";

/** Locked, full, unreadable, damaged: not now. A broken constraint is a bug. */
const MAY_PASS = /^SQLITE_(BUSY|LOCKED|FULL|IOERR|READONLY|CANTOPEN|NOMEM|CORRUPT|NOTADB)/;

/** The database's files aren't those any more that are open: nothing would stay of what is stored now. */
export class DatabaseLost extends Error {
  override readonly name = "DatabaseLost";
}

/** Whether it is the database's trouble of the moment: nothing was stored, and somebody can mend it. */
export function mayPass(error: unknown): boolean {
  if (error instanceof DatabaseLost) return true;
  return error instanceof SQLiteError && MAY_PASS.test(error.code ?? "");
}

const PAUSE_MS = 500;
/** How long a stop lets it try on. */
const STOPPING_MS = 2_000;
let stopping = false;
cutOff(STOPPING_MS, () => (stopping = true));

/**
 * A consumer's commit, tried until the database takes it: meanwhile it is paused, and what waits
 * for it waits at the broker. To count such failures as attempts would make healthy messages dead.
 */
export async function patiently<T>(log: Log, commit: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await commit();
    } catch (error) {
      if (stopping || !mayPass(error)) throw error;
      log.warn("store_unavailable", { reason: reasonOf(error) });
      await Bun.sleep(PAUSE_MS);
    }
  }
}
