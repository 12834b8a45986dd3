import type { FileSink } from "bun";
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import { nowUs } from "../host/waiting.ts";

/** A client doesn't always know: after a timeout or a reset the operation may have happened or not. */
export type OutcomeKind = "ok" | "failed" | "unknown";

/** How one call ended, as its client saw it. */
export interface Outcome {
  kind: OutcomeKind;
  /** The HTTP status, when there was an answer. */
  status?: number;
  /** The problem's code, or the network error: `timeout`, `connection_refused`. */
  code?: string;
  order_id?: string;
  /** The answer's JSON; its text when it isn't JSON. */
  body?: unknown;
}

export interface Operation {
  id: number;
  kind: string;
  /** Microseconds of the run's monotonic clock. */
  started_us: number;
  ended_us: number;
  outcome: OutcomeKind;
  status?: number;
  order_id?: string;
  code?: string;
  /** Idempotency key, under which a client may try again. */
  key?: string;
  request: unknown;
}

/** An answer as text: `ok 201`, `failed 504 inventory_timeout`, `unknown timeout`. */
export function answerOf({
  outcome,
  status,
  code,
}: {
  outcome: OutcomeKind;
  status?: number | undefined;
  code?: string | undefined;
}): string {
  return [outcome, status, code].filter((part) => part !== undefined).join(" ");
}

/** Every operation of a run, in the order in which they ended; also a file of JSON lines. */
export class History implements AsyncDisposable {
  readonly operations: Operation[] = [];
  readonly #open = new Map<number, Omit<Operation, "ended_us" | "outcome">>();
  readonly #sink: FileSink;
  #lastId = 0;
  #closed = false;

  /** Writes to `file`, which is truncated. */
  constructor(file: string) {
    mkdirSync(dirname(file), { recursive: true });
    this.#sink = Bun.file(file).writer();
  }

  /**
   * Runs the operation and records its outcome. One that throws is recorded as unknown, and the
   * error is rethrown.
   */
  async record(
    kind: string,
    request: unknown,
    run: () => Promise<Outcome>,
    key?: string,
  ): Promise<Outcome> {
    if (this.#closed) throw new Error("the history is closed");
    const id = ++this.#lastId;
    const sent = { request, ...(key === undefined ? {} : { key }) };
    this.#open.set(id, { id, kind, started_us: nowUs(), ...sent });
    try {
      const outcome = await run();
      this.#end(id, outcome);
      return outcome;
    } catch (error) {
      this.#end(id, { kind: "unknown", code: String(error) });
      throw error;
    }
  }

  /** Closes the file. Operations in progress are recorded as unknown. */
  async close(): Promise<void> {
    if (this.#closed) return;
    for (const id of this.#open.keys()) {
      this.#end(id, { kind: "unknown", code: "not_ended" });
    }
    this.#closed = true;
    await this.#sink.end();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  #end(id: number, { kind: outcome, status, code, order_id }: Outcome): void {
    const begun = this.#open.get(id);
    // Already recorded as unknown when the file was closed: that is final.
    if (begun === undefined) return;
    this.#open.delete(id);
    const { request, ...head } = begun;
    const operation: Operation = {
      ...head,
      ended_us: nowUs(),
      outcome,
      ...(status === undefined ? {} : { status }),
      ...(order_id === undefined ? {} : { order_id }),
      ...(code === undefined ? {} : { code }),
      request,
    };
    this.operations.push(operation);
    // A full disk is reported by `close`.
    void this.#sink.write(`${JSON.stringify(operation)}\n`);
  }
}
