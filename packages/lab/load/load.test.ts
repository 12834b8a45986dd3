import { expect, test } from "bun:test";
import type { Outcome } from "./history.ts";
import {
  closedLoop,
  FETCH_LIMIT,
  latencies,
  latencyRow,
  openLoop,
  percentileLine,
  placeOrder,
  post,
  saturate,
} from "./load.ts";
import { nowUs } from "../host/waiting.ts";

const ok = async (): Promise<Outcome> => ({ kind: "ok", status: 201 });
const after = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));
/** Blocks the event loop. */
const block = (ms: number) => {
  const endUs = nowUs() + ms * 1_000;
  while (nowUs() < endUs);
};

test.each([true, false])("an open loop sends everything, none early (exact: %p)", async (exact) => {
  const starts: number[] = [];
  const startUs = nowUs();
  const result = await openLoop({
    ratePerS: 500,
    durationS: 0.05,
    exact,
    send: (n) => {
      starts[n] = nowUs() - startUs;
      return ok();
    },
  });
  expect(result.count).toBe(25);
  for (const [n, start] of starts.entries()) {
    expect(start).toBeGreaterThanOrEqual(n * 2_000);
  }
  expect(result.durationS).toBeGreaterThanOrEqual(0.048);
});

test("an open loop doesn't wait for answers", async () => {
  const all = Promise.withResolvers<void>();
  let started = 0;
  const result = await openLoop({
    ratePerS: 10_000,
    count: 20,
    send: async () => {
      started += 1;
      if (started === 20) all.resolve();
      // No request is answered before the last one is sent.
      await all.promise;
      return { kind: "ok" };
    },
  });
  expect(result).toMatchObject({ count: 20, maxInFlight: 20 });
});

test("after a stall an open loop catches up, and the stall is in every latency it caused", async () => {
  const result = await openLoop({
    ratePerS: 1_000,
    count: 50,
    send: (n) => {
      if (n === 0) block(40);
      return ok();
    },
  });
  // Requests 0 to 39 were held up by 40 ms, 39 ms, ... 1 ms: the median saw 15 ms and more.
  expect(result.count).toBe(50);
  expect(latencies(result).p50_ms).toBeGreaterThanOrEqual(14);
  expect(result.maxUs).toBeGreaterThanOrEqual(39_000);
  expect(result.maxStartDelayUs).toBeGreaterThanOrEqual(38_000);
});

test("a closed loop keeps its connections busy and no more", async () => {
  let open = 0;
  let most = 0;
  const sent: number[] = [];
  const result = await closedLoop({
    count: 30,
    connections: 4,
    send: async (n) => {
      sent.push(n);
      most = Math.max(most, ++open);
      await after(1);
      open -= 1;
      return ok();
    },
  });
  expect(sent).toEqual([...Array(30).keys()]);
  expect({ most, count: result.count, max: result.maxInFlight }).toEqual({
    most: 4,
    count: 30,
    max: 4,
  });
});

test("more connections than fetch has are refused", async () => {
  expect(closedLoop({ count: 1, connections: FETCH_LIMIT + 1, send: ok })).rejects.toThrow(
    "BUN_CONFIG_MAX_HTTP_REQUESTS",
  );
});

test("outcomes are counted, and an error of the experiment's own comes out", async () => {
  const outcomes: Outcome[] = [
    { kind: "ok", status: 201 },
    { kind: "failed", status: 504, code: "inventory_timeout" },
    { kind: "unknown", code: "timeout" },
    { kind: "ok", status: 201 },
  ];
  const send = async (n: number) => outcomes[n] as Outcome;
  const result = await closedLoop({ count: 4, connections: 1, send });
  expect(result.outcomes).toEqual({ ok: 2, failed: 1, unknown: 1 });
  expect(result.answers).toEqual({
    "ok 201": 2,
    "failed 504 inventory_timeout": 1,
    "unknown timeout": 1,
  });
  const broken = async () => {
    throw new Error("my mistake");
  };
  expect(openLoop({ ratePerS: 1_000, count: 3, send: broken })).rejects.toThrow("my mistake");
  expect(closedLoop({ count: 3, connections: 2, send: broken })).rejects.toThrow("my mistake");
});

test("a latency row is in milliseconds; minimum and maximum are exact", async () => {
  const result = await closedLoop({ count: 2, connections: 1, send: ok });
  result.histogram.reset();
  for (let us = 1_000; us <= 100_000; us += 1_000) {
    result.histogram.recordValue(us);
  }
  const made = { ...result, count: 100, minUs: 1_000, maxUs: 100_003 };
  const [load, count, connections, min, mean, p50, p95, p99, max, errors] = latencyRow(
    "sequential",
    made,
  );
  expect([load, count, connections, min, max, errors]).toEqual([
    "sequential",
    100,
    1,
    1,
    100.003,
    0,
  ]);
  expect(mean).toBeCloseTo(50.5, 1);
  expect(p50).toBeCloseTo(50, 1);
  expect(p95).toBeCloseTo(95, 0);
  expect(p99).toBeCloseTo(99, 0);
  expect(percentileLine(made).at(-1)).toEqual([100, 100.003]);
  // No percentile above the maximum, though the histogram rounds up.
  expect(latencies({ ...made, maxUs: 50_001 }).p95_ms).toBe(50.001);
});

test("post tells ok, failed and unknown apart", async () => {
  using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    async fetch(request) {
      const { pathname } = new URL(request.url);
      if (pathname === "/hang") await new Promise(() => {});
      if (pathname === "/text") return new Response("oops", { status: 500 });
      if (pathname === "/problem") {
        return Response.json({ code: "inventory_timeout", order_id: "o2" }, { status: 504 });
      }
      const body = { order_id: "o1", sent: await request.json() };
      return Response.json(body, { status: 201 });
    },
  });
  const url = server.url.origin;
  expect(
    await Promise.all([
      placeOrder(url, { user_id: "u1", items: [] }),
      post(`${url}/problem`, {}),
      post(`${url}/text`, {}),
      post(`${url}/hang`, {}, { timeoutMs: 20 }),
    ]),
  ).toEqual([
    {
      kind: "ok",
      status: 201,
      order_id: "o1",
      body: { order_id: "o1", sent: { user_id: "u1", items: [] } },
    },
    {
      kind: "failed",
      status: 504,
      code: "inventory_timeout",
      order_id: "o2",
      body: { code: "inventory_timeout", order_id: "o2" },
    },
    { kind: "failed", status: 500, body: "oops" },
    { kind: "unknown", code: "timeout" },
  ]);
});

test("a refused connection surely did nothing; a broken one may have", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket) {
        socket.terminate();
        resolve();
      },
    },
  });
  const url = `http://127.0.0.1:${server.port}`;
  const broken = await post(url, {});
  await promise;
  server.stop(true);
  expect(broken).toEqual({ kind: "unknown", code: "connection_reset" });
  expect(await post(url, {})).toEqual({
    kind: "failed",
    code: "connection_refused",
  });
});

test("post throws for a mistake of the caller's", async () => {
  expect(post("no url", {})).rejects.toThrow();
});

test("saturate counts orders, and refuses to count errors", async () => {
  let status = 201;
  using server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () => new Response("{}", { status }),
  });
  const url = server.url.href;
  const load = { url, connections: 2, durationS: 0.2, body: {} };
  const { orders, ordersPerS } = await saturate(load);
  expect(orders).toBeGreaterThan(0);
  expect(ordersPerS).toBeGreaterThan(0);
  status = 503;
  expect(saturate(load)).rejects.toThrow("weren't 2xx");
});
