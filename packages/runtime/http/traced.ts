import type { Log } from "../log.ts";
import { beginSpan, endSpan, noteOnSpan, statusAttributes } from "../trace.ts";

/**
 * Answers a request in a span, for each POST. The handler finds that span in the header
 * `traceparent`, in the place of the caller's.
 */
export async function traced(
  log: Log,
  request: Request,
  handle: (request: Request) => unknown,
): Promise<Response> {
  const { headers, method, url } = request;
  if (method !== "POST") return handle(request) as Response;
  const span = beginSpan(log, headers.get("traceparent"), () => {
    const path = URL.parse(url, "http://localhost")?.pathname ?? "/";
    const attributes = { "http.request.method": method, "url.path": path };
    return { kind: "server", name: `${method} ${path}`, attributes };
  });
  headers.set("traceparent", span);
  // It answers its errors, too.
  const response = (await handle(request)) as Response;
  endSpan(span, statusAttributes(response.status));
  return response;
}

/** Notes on the request's span which order it was about, where the answer says so. */
export function noteOrder({ headers, method }: Request, answer: unknown): void {
  if (method !== "POST") return;
  // Elysia's `status(201, order)`, or the order itself.
  const { response = answer } = (answer ?? {}) as { response?: unknown };
  const { order_id } = (response ?? {}) as { order_id?: unknown };
  if (typeof order_id === "string") noteOnSpan(headers.get("traceparent"), { order_id });
}
