import { closeSync, fstatSync, openSync, readSync, type Stats, statSync } from "node:fs";

/**
 * A check takes 50 µs, and each commit needs one. Data deleted within this time are lost like data
 * deleted just after the answer.
 */
const LOOK_EVERY_MS = 10;

/**
 * The three files of an open database: the database, its write-ahead log, and the log's index.
 * SQLite keeps them open whatever happens to their names, and caches their content: what it writes
 * into one that was deleted, moved, replaced or truncated is lost when the process ends.
 */
export class OpenFiles {
  readonly #files: { path: string; id: string; fd: number }[];
  #lookedMs = -Infinity;
  #seen: string | undefined;

  /**
   * Construct it after SQLite has opened the files, and `close` it after SQLite: closing a file
   * releases all locks of the process on it.
   */
  constructor(database: string) {
    this.#files = ["", "-wal", "-shm"].map((suffix) => {
      const path = `${database}${suffix}`;
      return { path, id: idOf(statSync(path)), fd: openSync(path, "r") };
    });
  }

  /** What is wrong with the files, as text; undefined when nothing is, or was at the last check. */
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

  /** Names a file into which another process has written, as far as headers and sizes show. */
  #damage(): string | undefined {
    const damaged = [this.#isWhole(), this.#isLogWhole()].indexOf(false);
    return damaged === -1 ? undefined : `${this.#files[damaged]!.path} was overwritten`;
  }

  /** Whether the log file at the database's path is the one that is open. */
  hasOwnLog(): boolean {
    const { id, path } = this.#files[1]!;
    const stats = look(path);
    return stats !== undefined && idOf(stats) === id;
  }

  close(): void {
    for (const { fd } of this.#files) closeSync(fd);
  }

  /**
   * Whether the database has a valid header and the number of pages that it states. Some of those
   * may still be only in the log: where the disk is full, SQLite copies the first and not the
   * others.
   */
  #isWhole(): boolean {
    const header = this.#read(0, 32);
    const isOne = header.toString("latin1", 0, 16) === "SQLite format 3\0";
    const pages = header.readUInt32BE(28) - this.#framesToCopy();
    return isOne && this.#size(0) >= pages * pageBytes(header.readUInt16BE(16));
  }

  /** The same for the log; its index states how many of its frames are valid. */
  #isLogWhole(): boolean {
    const { frames, index } = this.#index();
    if (frames === 0) return true;
    // The last bit of the magic number gives the byte order of the checksums.
    const isOne = this.#read(1, 4).readUInt32BE() >>> 1 === 0x377f0682 >>> 1;
    return isOne && this.#size(1) >= 32 + frames * (24 + pageBytes(index.readUInt16LE(14)));
  }

  /** Frames of the log that are not yet copied into the database. */
  #framesToCopy(): number {
    const { frames, index } = this.#index();
    return Math.max(0, frames - index.readUInt32LE(96));
  }

  /** The index is shared memory in the machine's byte order, little-endian on x64 and arm64. */
  #index(): { frames: number; index: Buffer } {
    const index = this.#read(2, 100);
    return { frames: index.readUInt32LE(16), index };
  }

  #size(n: number): number {
    return fstatSync(this.#files[n]!.fd).size;
  }

  /** The first bytes of a file, zeros where it is shorter. */
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
    // A file that can't be examined can't be opened again either.
    return undefined;
  }
}

/** Identifies a file. */
function idOf({ dev, ino }: Stats): string {
  return `${dev} ${ino}`;
}

/** The page size, which SQLite encodes in 16 bits. */
function pageBytes(written: number): number {
  return written === 1 ? 65_536 : written;
}
