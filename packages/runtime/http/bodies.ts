import { Problem } from "@lab/contracts/problem";

/** The largest request body, in bytes. */
const MAX_BODY_BYTES = 64 * 1024;

/** What all requests on their way may take together, and each of them beside its body. */
const BUDGET_BYTES = 16 * 1024 * 1024;
const REQUEST_BYTES = 4 * 1024;

/**
 * A body that is too large is read all the same, and thrown away: many clients read no answer before
 * they have sent everything. But no more than this, for no longer, and of so many at once.
 */
const DISCARDED_BYTES = 256 * 1024 * 1024;
const DISCARDED_MS = 8_000;
const MAX_DISCARDING = 32;

/** Buffers that are kept for later: made anew each time they'd wait for the garbage collector. */
const MAX_SPARE = 64;

/** The rest of a body that nobody reads must not be held: its connection ends with the answer. */
const CLOSE = { connection: "close" };

interface Reader {
  read(): Promise<
    { done: true; value?: Uint8Array | undefined } | { done: false; value: Uint8Array }
  >;
}

/** A request whose body has not arrived. */
interface Arriving {
  readonly takes: number;
  /** Ends the wait for the rest. */
  stop: () => void;
  isStopped: boolean;
}

/**
 * Reads request bodies; those on their way never take more than a budget of bytes. Bun reads on
 * whether anybody waits or not, so each takes beforehand what it may become. Where that is more than
 * is left, those that have been on their way for longest give way: an order that comes in one piece
 * is never refused for those that stall.
 */
export class Bodies {
  readonly #arriving = new Set<Arriving>();
  readonly #spare: Uint8Array[] = [];
  #free: number;
  #discarding = 0;
  #uncollected = 0;

  constructor(budgetBytes = BUDGET_BYTES) {
    this.#free = budgetBytes;
  }

  /** Throws a `Problem` for a body that is too large, gives way or breaks off. */
  async read(request: Request): Promise<Uint8Array> {
    const header = request.headers.get("content-length");
    const length = header === null ? undefined : Number(header);
    const arriving: Arriving = {
      // In chunks it is there twice: as it came, and put together.
      takes: REQUEST_BYTES + Math.min(length ?? 2 * MAX_BODY_BYTES, 2 * MAX_BODY_BYTES),
      stop() {},
      isStopped: false,
    };
    this.#makeRoom(arriving.takes);
    this.#free -= arriving.takes;
    this.#arriving.add(arriving);
    try {
      if (length === undefined || length > MAX_BODY_BYTES) {
        return await this.#counted(request, length, arriving);
      }
      const body = await whole(request, arriving);
      this.#collect(length);
      return body;
    } catch (error) {
      throw error instanceof Problem ? error : brokeOff();
    } finally {
      this.#leave(arriving);
    }
  }

  #makeRoom(bytes: number): void {
    for (const oldest of this.#arriving) {
      if (this.#free >= bytes) return;
      this.#leave(oldest);
      oldest.isStopped = true;
      oldest.stop();
    }
  }

  #leave(arriving: Arriving): void {
    if (this.#arriving.delete(arriving)) this.#free += arriving.takes;
  }

  /** A body whose length is known only at its end, or is too much already. */
  async #counted(
    request: Request,
    length: number | undefined,
    arriving: Arriving,
  ): Promise<Uint8Array> {
    const reader = (request.body as ReadableStream<Uint8Array>).getReader();
    // The read that waits ends with it.
    arriving.stop = () => void reader.cancel().catch(() => {});
    if (length === undefined) {
      const body = await this.#withinLimit(reader);
      if (arriving.isStopped) throw gaveWay();
      if (body) return body;
    }
    const isRead = await this.#discard(reader, arriving);
    throw new Problem(
      "body_too_large",
      `${length === undefined ? "a chunked body" : `${length} bytes`}, at most ${MAX_BODY_BYTES} bytes`,
      isRead ? {} : { headers: CLOSE },
    );
  }

  /** Undefined where it is too large. */
  async #withinLimit(reader: Reader): Promise<Uint8Array | undefined> {
    // One for all chunks: each may be a byte, and an object for each would be more than the bytes.
    const buffer = this.#spare.pop() ?? new Uint8Array(MAX_BODY_BYTES);
    let size = 0;
    try {
      for (;;) {
        const { done, value } = await this.#next(reader);
        if (done) return buffer.slice(0, size);
        if (size + value.length > MAX_BODY_BYTES) return undefined;
        buffer.set(value, size);
        size += value.length;
      }
    } finally {
      if (this.#spare.length < MAX_SPARE) this.#spare.push(buffer);
    }
  }

  async #next(reader: Reader) {
    const read = await reader.read();
    if (!read.done) this.#collect(read.value.length);
    return read;
  }

  /** Collects garbage after each budget of bytes: the collector doesn't feel their weight, and they'd pile up beyond it. */
  #collect(bytes: number): void {
    this.#uncollected += bytes;
    if (this.#uncollected <= BUDGET_BYTES) return;
    this.#uncollected = 0;
    Bun.gc(true);
  }

  /** Whether it came to its end. */
  async #discard(reader: Reader, arriving: Arriving): Promise<boolean> {
    if (this.#discarding >= MAX_DISCARDING) return false;
    this.#discarding += 1;
    const late = setTimeout(() => {
      arriving.isStopped = true;
      arriving.stop();
    }, DISCARDED_MS);
    try {
      let size = 0;
      while (size <= DISCARDED_BYTES) {
        const { done, value } = await this.#next(reader);
        if (done) return !arriving.isStopped;
        size += value.length;
      }
      return false;
    } finally {
      clearTimeout(late);
      this.#discarding -= 1;
    }
  }
}

/** A body of a length that was told, and is allowed. */
function whole(request: Request, arriving: Arriving): Promise<Uint8Array> {
  return new Promise((resolve, reject) => {
    arriving.stop = () => reject(gaveWay());
    request.bytes().then(resolve, reject);
  });
}

function gaveWay(): Problem {
  return new Problem("overloaded", "too many bodies are on their way, this one for longest", {
    headers: { ...CLOSE, "retry-after": "1" },
  });
}

function brokeOff(): Problem {
  return new Problem("bad_request", "the body broke off", { headers: CLOSE });
}
