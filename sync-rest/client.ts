/** How the order service calls its neighbours, and what an answer that didn't come means. */
import { type Order, RejectReason } from "@lab/contracts/order";
import type { ProblemCode } from "@lab/contracts/problem";
import { type Log, reasonOf } from "@lab/runtime/log";
import { inSpan, noteOnSpan, statusAttributes } from "@lab/runtime/trace";
import type { Attempt } from "@lab/runtime/work/repair";
import { Value } from "@sinclair/typebox/value";

/** The neighbours' addresses, and how long an answer may take. */
export interface Neighbours {
  inventoryUrl: string;
  inventoryTimeoutMs: number;
  notificationUrl: string;
  notificationTimeoutMs: number;
}

/** Inventory's answer to an order, or why it is unknown; `attempt` is for the repair. */
export type ReserveResult =
  | { kind: "reserved"; at: string }
  | { kind: "rejected"; code: string; detail: string }
  | { kind: "unreachable" | "unknown"; code: ProblemCode; detail: string; attempt: Attempt };

/** The result of sending the confirmation. */
export type SendResult = { kind: "told"; at: string } | { kind: "pending"; attempt: Attempt };

export class Client {
  readonly #neighbours: Neighbours;
  readonly #log: Log;

  constructor(neighbours: Neighbours, log: Log) {
    this.#neighbours = neighbours;
    this.#log = log;
  }

  /** POST /reserve, whose answer may be yes, no, an error, or missing. */
  async reserve({ order_id, kitchen, items }: Order, trace?: string): Promise<ReserveResult> {
    const { inventoryTimeoutMs, inventoryUrl } = this.#neighbours;
    try {
      const url = `${inventoryUrl}/reserve`;
      const body = { order_id, kitchen, items };
      const response = await this.#post(url, body, trace, inventoryTimeoutMs);
      const answer = (await response.json()) as { code: ProblemCode; detail: string };
      if (response.ok) return { kind: "reserved", at: new Date().toISOString() };
      if (response.status === 409 && Value.Check(RejectReason, answer.code)) {
        return { kind: "rejected", ...answer };
      }
      // An error may follow the effect: the outcome is as unknown as without an answer.
      const detail = `Inventory answered ${response.status}`;
      const attempt = this.#failed(response, order_id);
      return { kind: "unknown", code: "inventory_error", detail, attempt };
    } catch (error) {
      const attempt = this.#failed(error, order_id);
      if (attempt === "unreachable") {
        const detail = "nothing was reserved; try again";
        return { kind: "unreachable", code: "inventory_unreachable", detail, attempt };
      }
      const detail = `${whyUnknown(error)}; the order is cancelled`;
      return { kind: "unknown", code: "inventory_timeout", detail, attempt };
    }
  }

  /** POST /release: idempotent, so an unknown outcome is resolved by a retry. */
  async release(orderId: string, trace?: string): Promise<Attempt> {
    const { inventoryTimeoutMs, inventoryUrl } = this.#neighbours;
    const url = `${inventoryUrl}/release`;
    const body = { order_id: orderId };
    const answer = await this.#post(url, body, trace, inventoryTimeoutMs).catch(
      (error: unknown) => error,
    );
    return answer instanceof Response && answer.ok ? "done" : this.#failed(answer, orderId);
  }

  /** POST /send: idempotent by order id, so an unknown outcome is resolved by a retry. */
  async send({ order_id, user_id, kitchen }: Order, trace?: string): Promise<SendResult> {
    const { notificationTimeoutMs, notificationUrl } = this.#neighbours;
    const url = `${notificationUrl}/send`;
    const body = { order_id, user_id, kitchen };
    const answer = await this.#post(url, body, trace, notificationTimeoutMs).catch(
      (error: unknown) => error,
    );
    if (answer instanceof Response && answer.ok)
      return { kind: "told", at: new Date().toISOString() };
    return { kind: "pending", attempt: this.#failed(answer, order_id) };
  }

  /** POSTs JSON in a span of its own, as the next hop of `trace`; aborted after that time. */
  #post(url: string, body: { order_id: string }, trace: string | undefined, timeoutMs: number) {
    const describe = () => ({
      kind: "client" as const,
      name: `POST ${new URL(url).pathname}`,
      orderId: body.order_id,
      attributes: { "http.request.method": "POST", "url.full": url },
    });
    return inSpan(this.#log, trace, describe, async (traceparent) => {
      const response = await fetch(url, {
        method: "POST",
        headers: { "content-type": "application/json", traceparent },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(timeoutMs),
      });
      noteOnSpan(traceparent, statusAttributes(response.status));
      return response;
    });
  }

  /** The result of an attempt whose call failed with that answer or error. */
  #failed(cause: unknown, orderId: string): Attempt {
    const answer = cause instanceof Response ? cause : undefined;
    const reason = answer ? `${answer.url} answered ${answer.status}` : reasonOf(cause);
    this.#log.debug("call_failed", { order_id: orderId, reason });
    // A neighbour that answers 503 is unavailable for every order.
    if (answer) return answer.status === 503 ? "no_answer" : "refused";
    return neverArrived(cause) ? "unreachable" : "no_answer";
  }
}

/** Why it is unknown whether a call was carried out, for the customer. */
function whyUnknown(error: unknown): string {
  return (error as Error).name === "TimeoutError"
    ? "Inventory did not answer in time"
    : "the connection to Inventory broke";
}

/** Whether a failed call was certainly not carried out: there was no connection. */
function neverArrived(error: unknown): boolean {
  const code = (error as { code?: string }).code ?? "";
  return ["ConnectionRefused", "ECONNREFUSED", "ENOTFOUND"].includes(code);
}
