import { closeSync, fstatSync, openSync, readSync, type Stats, statSync } from "node:fs";

/** A look takes 50 µs, and each commit wants one. What is deleted a moment after its answer is lost, too. */
const LOOK_EVERY_MS = 10;

/**
 * The three files of a database that is open: itself, its log, and the index of that. SQLite holds on
 * to them whatever becomes of their names, and to its own idea of what is in them: what it writes into
 * one that was deleted, moved, replaced or cut off is gone with the process.
 */
export class OpenFiles {
  readonly #files: { path: string; id: string; fd: number }[];
  #lookedMs = -Infinity;
  #seen: string | undefined;

  /** Call it once SQLite has opened them, and `close` after SQLite: whoever closes a file ends all locks of its process on it. */
  constructor(database: string) {
    this.#files = ["", "-wal", "-shm"].map((suffix) => {
      const path = `${database}${suffix}`;
      return { path, id: idOf(statSync(path)), fd: openSync(path, "r") };
    });
  }

  /** What is wrong with them, in words; undefined when nothing is, or was a moment ago. */
  problem(): string | undefined {
    const nowMs = performance.now();
    if (nowMs - this.#lookedMs >= LOOK_EVERY_MS) {
      this.#seen = this.#moved() ?? this.#damage();
      this.#lookedMs = nowMs;
    }
    return this.#seen;
  }

  #moved(): string | undefined {
    for (const { path, id } of this.#files) {
      const stats = look(path);
      if (!stats) return `${path} is gone: put it back, or start the service again`;
      if (idOf(stats) !== id) return `${path} is another file: start the service again`;
    }
    return undefined;
  }

  /** Somebody else has written into them, as far as their beginnings and sizes tell. */
  #damage(): string | undefined {
    const damaged = [this.#isWhole(), this.#isLogWhole()].indexOf(false);
    return damaged === -1 ? undefined : `${this.#files[damaged]!.path} was overwritten`;
  }

  /** Whether the log that lies beside the database is its own. */
  hasOwnLog(): boolean {
    const { id, path } = this.#files[1]!;
    const stats = look(path);
    return stats !== undefined && idOf(stats) === id;
  }

  close(): void {
    for (const { fd } of this.#files) closeSync(fd);
  }

  /**
   * Whether the database begins as one does, and has the pages that it says. Of those some may be in
   * the log still: where the disk is full, SQLite copies the first and not the others.
   */
  #isWhole(): boolean {
    const header = this.#read(0, 32);
    const isOne = header.toString("latin1", 0, 16) === "SQLite format 3\0";
    const pages = header.readUInt32BE(28) - this.#framesToCopy();
    return isOne && this.#size(0) >= pages * pageBytes(header.readUInt16BE(16));
  }

  /** The same of the log, whose index says how much of it counts. */
  #isLogWhole(): boolean {
    const { frames, index } = this.#index();
    if (frames === 0) return true;
    // Its last bit tells the order of bytes in the checksums.
    const isOne = this.#read(1, 4).readUInt32BE() >>> 1 === 0x377f0682 >>> 1;
    return isOne && this.#size(1) >= 32 + frames * (24 + pageBytes(index.readUInt16LE(14)));
  }

  /** Frames of the log that are not in the database yet. */
  #framesToCopy(): number {
    const { frames, index } = this.#index();
    return Math.max(0, frames - index.readUInt32LE(96));
  }

  /** The index is memory of this machine, in the order of its bytes: x64 and arm64 have the same. */
  #index(): { frames: number; index: Buffer } {
    const index = this.#read(2, 100);
    return { frames: index.readUInt32LE(16), index };
  }

  #size(n: number): number {
    return fstatSync(this.#files[n]!.fd).size;
  }

  /** The first bytes of a file, zeros where it has none. */
  #read(n: number, bytes: number): Buffer {
    const header = Buffer.alloc(bytes);
    readSync(this.#files[n]!.fd, header, 0, bytes, 0);
    return header;
  }
}

function look(path: string): Stats | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false });
  } catch {
    // Nobody who can't see it can open it again.
    return undefined;
  }
}

/** What tells a file from every other one. */
function idOf({ dev, ino }: Stats): string {
  return `${dev} ${ino}`;
}

/** The page size as SQLite writes it into 16 bits. */
function pageBytes(written: number): number {
  return written === 1 ? 65_536 : written;
}
