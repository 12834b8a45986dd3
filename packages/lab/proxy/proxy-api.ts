import { type Static, Type } from "@sinclair/typebox";
import { validated } from "@lab/evidence/evidence";
import { type FaultProxy, startProxy } from "./proxy.ts";
import type { ToxicRequest } from "./toxics.ts";

const Request = Type.Object(
  {
    name: Type.String({ minLength: 1 }),
    listen: Type.Optional(Type.String({ pattern: "^127\\.0\\.0\\.1:\\d+$" })),
    upstream: Type.String({ pattern: "^[^:]+:\\d+$" }),
    enabled: Type.Optional(Type.Boolean()),
  },
  { additionalProperties: false },
);

/** Proxies with toxiproxy's HTTP API, on that port of 127.0.0.1; 0 takes a free one. */
export function serveProxies(port: number): AsyncDisposable & { url: string } {
  const proxies = new Map<string, FaultProxy>();
  const named = (name: string) => proxies.get(name) ?? fail(404, `there is no proxy ${name}`);
  const create = async ({ enabled = true, ...options }: Static<typeof Request>) => {
    if (proxies.has(options.name)) fail(409, `there is a proxy ${options.name} already`);
    const proxy = await startProxy(options);
    proxies.set(options.name, proxy);
    if (!enabled) await proxy.disable();
    return Response.json(shown(proxy), { status: 201 });
  };
  const answer = async (request: globalThis.Request): Promise<Response> => {
    const [first, name = "", second, toxic] = new URL(request.url).pathname.split("/").slice(1);
    const does = `${request.method} ${[first, name && ":name", second, toxic && ":toxic"].filter(Boolean).join("/")}`;
    const body = () => request.json() as Promise<Record<string, unknown>>;
    switch (does) {
      case "GET proxies":
        return Response.json(
          Object.fromEntries([...proxies].map(([key, one]) => [key, shown(one)])),
        );
      case "POST proxies":
        return create(validated("the proxy", Request, await body()));
      case "GET proxies/:name":
        return Response.json(shown(named(name)));
      case "POST proxies/:name":
        await switchTo(named(name), (await body())["enabled"] !== false);
        return Response.json(shown(named(name)));
      case "DELETE proxies/:name":
        await named(name).disable();
        proxies.delete(name);
        return new Response(null, { status: 204 });
      case "GET proxies/:name/toxics":
        return Response.json(named(name).toxics);
      case "POST proxies/:name/toxics":
        return Response.json(named(name).add((await body()) as ToxicRequest));
      case "DELETE proxies/:name/toxics/:toxic":
        if (!named(name).remove(decodeURIComponent(toxic ?? "")))
          fail(404, `there is no toxic ${toxic}`);
        return new Response(null, { status: 204 });
      case "POST reset":
        for (const proxy of proxies.values()) {
          proxy.clear();
          await proxy.enable();
        }
        return new Response(null, { status: 204 });
      default:
        return fail(404, `${does} is not there`);
    }
  };
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port,
    fetch: (request) =>
      answer(request).catch((error: Error & { status?: number }) => {
        const { message, status = 400 } = error;
        return Response.json({ error: message, status }, { status });
      }),
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    async [Symbol.asyncDispose]() {
      await server.stop(true);
      for (const proxy of proxies.values()) await proxy.disable();
    },
  };
}

function shown({ counters, enabled, listen, name, toxics, upstream }: FaultProxy) {
  return { name, listen, upstream, enabled, toxics, counters };
}

function switchTo(proxy: FaultProxy, enabled: boolean): Promise<void> {
  return enabled ? proxy.enable() : proxy.disable();
}

function fail(status: number, message: string): never {
  throw Object.assign(new Error(message), { status });
}
