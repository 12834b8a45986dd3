/** How a neighbour is called, and what an answer that didn't come means. */

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

/** Whether a call that failed was surely not carried out: nobody took the connection. */
export function neverArrived(error: unknown): boolean {
  const code = (error as { code?: string }).code ?? "";
  return ["ConnectionRefused", "ECONNREFUSED", "ENOTFOUND"].includes(code);
}
