/** A small server between a service and its neighbour that can treat single orders differently. */

/** The status with which a request is refused, or "no answer" to drop the answer. */
type Refuse = (body: { order_id: string }, path: string) => number | "no answer" | undefined;

/**
 * Forwards requests to the service on that port, except those that it is told to refuse, and
 * answers, except those that it is told to drop.
 */
export function standBefore(port: number): { url: string; refuse: Refuse } & AsyncDisposable {
  let refuse: Refuse = () => undefined;
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 60,
    async fetch(request): Promise<Response> {
      const body = await request.text();
      const { headers, method, url } = request;
      const { pathname } = new URL(url);
      const refusal = refuse(JSON.parse(body) as { order_id: string }, pathname);
      if (typeof refusal === "number") return new Response("{}", { status: refusal });
      const answer = await fetch(`http://127.0.0.1:${port}${pathname}`, { method, headers, body });
      return refusal === "no answer" ? new Promise(() => {}) : answer;
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    set refuse(now: Refuse) {
      refuse = now;
    },
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}
