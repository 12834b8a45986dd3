import { expect, test } from "bun:test";
import { serveProxies } from "./proxy-api.ts";

test("proxies and toxics come and go over toxiproxy's HTTP API", async () => {
  using target = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response("hi"),
  });
  await using api = serveProxies(0);
  const call = async (method: string, path: string, body?: unknown) => {
    const answer = await fetch(`${api.url}${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await answer.text();
    return [answer.status, text === "" ? undefined : JSON.parse(text)];
  };
  const upstream = `127.0.0.1:${target.port}`;
  const [status, { listen }] = await call("POST", "/proxies", { name: "web", upstream });
  expect(status).toBe(201);
  const get = () =>
    fetch(`http://${listen}`, { keepalive: false }).then(
      (answer) => answer.text(),
      (error: { code?: string }) => error.code,
    );
  expect(await get()).toBe("hi");
  const toxic = { name: "cut", type: "reset_peer", stream: "downstream", toxicity: 1 };
  expect(await call("POST", "/proxies/web/toxics", { name: "cut", type: "reset_peer" })).toEqual([
    200,
    { ...toxic, attributes: { timeout: 0 } },
  ]);
  expect(await get()).toBe("ECONNRESET");
  expect(await call("GET", "/proxies/web/toxics")).toMatchObject([200, [toxic]]);
  expect(await call("DELETE", "/proxies/web/toxics/cut")).toEqual([204, undefined]);
  expect(await get()).toBe("hi");
  expect(await call("POST", "/proxies/web", { enabled: false })).toMatchObject([
    200,
    { enabled: false },
  ]);
  expect(await get()).toMatch(/refused/i);
  expect(await call("POST", "/reset")).toEqual([204, undefined]);
  expect(await get()).toBe("hi");
  expect(await call("GET", "/proxies")).toMatchObject([200, { web: { listen, upstream } }]);
  expect(await call("POST", "/proxies", { name: "web", upstream })).toMatchObject([409, {}]);
  expect(await call("POST", "/proxies", { name: "x" })).toMatchObject([400, {}]);
  expect(await call("POST", "/proxies/web/toxics", { type: "rain" })).toMatchObject([400, {}]);
  expect(await call("DELETE", "/proxies/web")).toEqual([204, undefined]);
  expect(await call("GET", "/proxies/web")).toMatchObject([404, {}]);
});
