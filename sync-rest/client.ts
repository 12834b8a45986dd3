/** How a neighbour is called, and what an answer that didn't come means. */
import { type Log, reasonOf } from "@lab/runtime/log";
import type { Attempt } from "@lab/runtime/repair";

/** A POST of JSON for `fetch`, which gives up after that time. */
export function posted(body: unknown, traceparent: string, timeoutMs: number) {
  return {
    method: "POST",
    headers: { "content-type": "application/json", traceparent },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(timeoutMs),
  };
}

/** Why nobody knows whether a call was carried out, for the customer. */
export function whyUnknown(error: unknown): string {
  return (error as Error).name === "TimeoutError"
    ? "Inventory did not answer in time"
    : "the connection to Inventory broke";
}

/** What became of an attempt whose call gave that answer, or that error. */
export function failedAttempt(cause: unknown, orderId: string, log: Log): Attempt {
  const answer = cause instanceof Response ? cause : undefined;
  const reason = answer ? `${answer.url} answered ${answer.status}` : reasonOf(cause);
  log.debug("call_failed", { order_id: orderId, reason });
  // Who says 503 is there for nobody.
  if (answer) return answer.status === 503 ? "no_answer" : "refused";
  return neverArrived(cause) ? "unreachable" : "no_answer";
}

/** Whether a call that failed was surely not carried out: nobody took the connection. */
function neverArrived(error: unknown): boolean {
  const code = (error as { code?: string }).code ?? "";
  return ["ConnectionRefused", "ECONNREFUSED", "ENOTFOUND"].includes(code);
}
