import { closeSync, fdatasyncSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { sampleOf } from "./rounds.ts";

const WRITES = 500;

/** The median time of a synced write to a file in that folder, as a commit makes one; milliseconds. */
export function syncedWriteMs(folder: string): number {
  const file = openSync(join(folder, "synced-writes"), "w");
  // A page of SQLite with the head of its frame in the log.
  const page = new Uint8Array(4096 + 24);
  const times = Array.from({ length: WRITES }, () => {
    const fromNs = Bun.nanoseconds();
    writeSync(file, page);
    fdatasyncSync(file);
    return (Bun.nanoseconds() - fromNs) / 1e6;
  });
  closeSync(file);
  return sampleOf(times).median;
}
