import type { Log } from "../log.ts";
import { beginSpan, endSpan, isSampled, noteOnSpan, statusAttributes } from "../trace.ts";

/** The spans of sampled requests. */
const spans = new WeakMap<Request, string>();

/**
 * Begins the span of a request, for each POST. The handler finds it in the header `traceparent`, in
 * the place of the caller's.
 */
export function beginRequest(log: Log, request: Request): void {
  const { headers, method, url } = request;
  if (method !== "POST") return;
  const span = beginSpan(log, headers.get("traceparent"), () => {
    const path = URL.parse(url, "http://localhost")?.pathname ?? "/";
    const attributes = { "http.request.method": method, "url.path": path };
    return { kind: "server", name: `${method} ${path}`, attributes };
  });
  headers.set("traceparent", span);
  if (isSampled(span)) spans.set(request, span);
}

/** Notes on the request's span which order it was about, where the answer says so. */
export function noteOrder(request: Request, answer: unknown): void {
  const span = spans.get(request);
  if (span === undefined) return;
  // Elysia's `status(201, order)`, or the order itself.
  const { response = answer } = (answer ?? {}) as { response?: unknown };
  const { order_id } = (response ?? {}) as { order_id?: unknown };
  if (typeof order_id === "string") noteOnSpan(span, { order_id });
}

export function endRequest(request: Request, { status }: Response): void {
  const span = spans.get(request);
  if (span !== undefined) endSpan(span, statusAttributes(status));
}
