import { Problem } from "@lab/contracts/problem";

/** The largest request body, in bytes. */
const MAX_BODY_BYTES = 64 * 1024;

/**
 * The memory that all incoming requests may take together, and what each takes besides its body.
 */
const BUDGET_BYTES = 16 * 1024 * 1024;
const REQUEST_BYTES = 4 * 1024;

/**
 * A body that is too large is still read, and discarded: many clients read no answer before they
 * have sent everything. These limit the bytes, the time, and the number of such bodies at once.
 */
const DISCARDED_BYTES = 256 * 1024 * 1024;
const DISCARDED_MS = 8_000;
const MAX_DISCARDING = 32;

/** Buffers that are kept for reuse: new ones each time would wait for the garbage collector. */
const MAX_SPARE = 64;

/** The unread rest of a body must not be buffered: the connection ends with the answer. */
const CLOSE = { connection: "close" };

interface Reader {
  read(): Promise<
    { done: true; value?: Uint8Array | undefined } | { done: false; value: Uint8Array }
  >;
}

/** A request whose body is not complete. */
interface Arriving {
  readonly takes: number;
  /** Ends the wait for the rest. */
  stop: () => void;
  isStopped: boolean;
}

/**
 * Reads request bodies; the incomplete ones never take more than a budget of bytes. Bun reads from
 * the socket whether the application reads or not, so each reserves its maximum size in advance.
 * Where the budget has less left, the requests that have been incomplete for longest are aborted:
 * an order that arrives in one piece is never refused because of stalled ones.
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

  /** Throws a `Problem` for a body that is too large, was aborted to make room, or breaks off. */
  async read(request: Request): Promise<Uint8Array> {
    const header = request.headers.get("content-length");
    const length = header === null ? undefined : Number(header);
    const arriving: Arriving = {
      // A chunked body is held twice: as received, and concatenated.
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

  /** A body whose length is known only at its end, or is too large. */
  async #counted(
    request: Request,
    length: number | undefined,
    arriving: Arriving,
  ): Promise<Uint8Array> {
    const reader = (request.body as ReadableStream<Uint8Array>).getReader();
    // Cancelling ends a pending read.
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

  /** The body; undefined where it is too large. */
  async #withinLimit(reader: Reader): Promise<Uint8Array | undefined> {
    // One buffer for all chunks: a chunk may be one byte, and an object for each would take more
    // memory than the bytes.
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

  /**
   * Collects garbage each time a budget of bytes was read: the collector doesn't count the buffers'
   * memory, which would exceed the budget.
   */
  #collect(bytes: number): void {
    this.#uncollected += bytes;
    if (this.#uncollected <= BUDGET_BYTES) return;
    this.#uncollected = 0;
    Bun.gc(true);
  }

  /** Reads and discards the body; returns whether it was read to its end. */
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

/** A body with an allowed Content-Length. */
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
