// The page's server: on loopback alone, for a browser that came by the printed address.
import { Elysia } from "elysia";
import { Actions } from "./actions.ts";
import { listLetters } from "../actions/letters.ts";
import { type Assets, bundle } from "./assets.ts";
import { Feed } from "./feed.ts";
import { timelines } from "./follow.ts";
import { isWrongHost, isWrongWrite, SECURITY_HEADERS } from "./guards.ts";
import type { Model } from "@lab/evidence/evidence";
import type { Lab } from "../contract/lab.ts";
import { fetchMetrics, fetchReplay } from "@lab/lab/probes/replay";
import { Watched } from "./watched.ts";

/** A proxy or a browser may cut a line that is silent for long. */
const HEARTBEAT_MS = 5_000;

export interface Dashboard {
  /** With the key in its fragment, which no browser sends anywhere. */
  url: string;
  /** First gives those models, which stay up, back what the page took from them; throws what prevents that. */
  stop(lasting: readonly Model[]): Promise<void>;
}

/** Serves the page; the models need not be up yet. Throws EADDRINUSE where the port is taken. */
export async function startDashboard(lab: Lab): Promise<Dashboard> {
  const ended = new AbortController();
  const token = crypto.randomUUID();
  const watched = lab.models.map((model) => new Watched(lab, model, ended.signal));
  const feed = new Feed(lab, watched, ended.signal);
  const actions = new Actions(lab, feed, watched);
  await feed.ready;
  const app = appOf({
    actions,
    assets: await bundle(),
    feed,
    token,
    watched,
    signal: ended.signal,
  });
  try {
    app.listen({ hostname: "127.0.0.1", port: lab.port, reusePort: false });
  } catch (error) {
    ended.abort();
    throw error;
  }
  return {
    url: `http://127.0.0.1:${app.server!.port}/#${token}`,
    async stop(lasting) {
      try {
        await actions.giveBack(lasting);
      } finally {
        ended.abort();
        await app.server!.stop(true);
        await Promise.all(watched.map(({ line }) => line.close()));
      }
    },
  };
}

interface Parts {
  actions: Actions;
  assets: Assets;
  feed: Feed;
  token: string;
  watched: readonly Watched[];
  signal: AbortSignal;
}

function appOf({ actions, assets, feed, signal, token, watched }: Parts) {
  const named = (model: string) => watched.find((one) => one.model === model);
  return new Elysia()
    .onRequest(({ request, server, set }) => {
      Object.assign(set.headers, SECURITY_HEADERS);
      const port = server?.port ?? 0;
      if (isWrongHost(request, port)) return refusal(403, "this page has another address");
      if (isWrongWrite(request, port, token)) {
        return refusal(403, "only the page that was opened by the printed address may do that");
      }
      return undefined;
    })
    .onError(({ error }) => refusal(400, error instanceof Error ? error.message : "it failed"))
    .get("/events", ({ request, server }) => {
      server?.timeout(request, 0);
      return eventsOf(feed, AbortSignal.any([signal, request.signal]));
    })
    .post("/actions", async ({ body }) => ({ said: await actions.do(body) }))
    .get("/orders/:model/:suffix", ({ params: { model, suffix } }) =>
      timelines(watched, feed.clicks, model, suffix),
    )
    .get("/letters/:model", async ({ params: { model } }) => {
      const one = named(model);
      return one === undefined ? refusal(404, "no such model") : listLetters(one);
    })
    .get("/tour", () => actions.tour.steps)
    .get("/replay", async () => {
      const one = watched.find(({ facts }) => facts.downstream === "analytics");
      if (one === undefined) return refusal(404, "no stream is shown");
      const { url } = await one.service(one.facts.services[2]);
      const [metrics, replay] = await Promise.all([
        fetchMetrics(url),
        // There was none yet.
        fetchReplay(url).catch(() => null),
      ]);
      return { metrics, replay };
    })
    .get("/*", ({ path }) => {
      const asset = assets.get(path);
      if (asset === undefined) return refusal(404, "there is no such page");
      const headers = {
        "content-type": `${asset.type}; charset=utf-8`,
        "cache-control": "no-store",
      };
      return new Response(asset.text, { headers: { ...SECURITY_HEADERS, ...headers } });
    });
}

function refusal(status: number, error: string): Response {
  return Response.json({ error }, { status, headers: SECURITY_HEADERS });
}

/** Server-sent events: the snapshot first, then the newest frame whenever the client has room. */
function eventsOf(feed: Feed, signal: AbortSignal): Response {
  let newest: string | undefined;
  let wake = () => {};
  let forget = () => {};
  const encoder = new TextEncoder();
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      controller.enqueue(encoder.encode(eventText("snapshot", JSON.stringify(feed.snapshot()))));
      forget = feed.listen((frame) => {
        newest = frame;
        wake();
      });
      signal.addEventListener("abort", () => {
        forget();
        wake();
        try {
          controller.close();
        } catch {
          // The client has closed it.
        }
      });
    },
    // Called only when the client has taken what was sent: what came meanwhile is skipped.
    async pull(controller) {
      while (newest === undefined && !signal.aborted) {
        const woken = Promise.withResolvers<void>();
        wake = woken.resolve;
        const timer = setTimeout(woken.resolve, HEARTBEAT_MS);
        await woken.promise;
        clearTimeout(timer);
        if (newest === undefined && !signal.aborted) {
          controller.enqueue(encoder.encode(": still here\n\n"));
          return;
        }
      }
      if (newest === undefined || signal.aborted) return;
      controller.enqueue(encoder.encode(eventText("frame", newest)));
      newest = undefined;
    },
    cancel: () => forget(),
  });
  return new Response(body, {
    headers: {
      ...SECURITY_HEADERS,
      "content-type": "text/event-stream",
      "cache-control": "no-store",
    },
  });
}

function eventText(event: string, data: string): string {
  return `event: ${event}\ndata: ${data}\n\n`;
}
