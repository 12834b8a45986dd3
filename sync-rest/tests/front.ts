/** Something small between a service and its neighbour, which tells one order from another. */

/** The status that a request is refused with, or that its answer is lost. */
type Refuse = (body: { order_id: string }, path: string) => number | "no answer" | undefined;

/** Hands requests on to the service on that port, but for what it is told to refuse, and answers, but for what it is told to lose. */
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
