import { expect, test } from "bun:test";
import { OrderPage, PlaceOrder } from "@lab/contracts/order";
import { Faults } from "../faults.ts";
import { createApp } from "./app.ts";
import { MAX_IN_FLIGHT } from "../limits.ts";
import { OrderQuery } from "./requests.ts";
import { createLog } from "../log.ts";
import { retryTransient, TransientError } from "../transient.ts";

const log = createLog("test", "error");
const OFF = { delay_ms: 0, fail_rate: 0, hang: false, throttle_ms: 0, seed: 1 };

function startApp() {
  return createApp("test", {
    model: "test",
    faults: new Faults(false, OFF),
    log,
    health: () => ({ needs: {} }),
  });
}

const post = (path: string) => new Request(`http://localhost${path}`, { method: "POST" });

test("beyond a thousand requests at once it refuses, and looking is free", async () => {
  const open = Promise.withResolvers<void>();
  const app = startApp().post("/wait", async () => {
    await open.promise;
    return "done";
  });
  const running = Array.from({ length: MAX_IN_FLIGHT }, () => app.handle(post("/wait")));
  const refused = await app.handle(post("/wait"));
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await refused.json()).toMatchObject({ code: "overloaded", instance: "/wait" });
  expect((await app.handle(new Request("http://localhost/health"))).status).toBe(200);
  open.resolve();
  expect((await Promise.all(running)).every(({ ok }) => ok)).toBe(true);
  expect((await app.handle(post("/wait"))).status).toBe(200);
});

const json = (body: ReadableStream | string, path = "/echo") =>
  new Request(`http://localhost${path}`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
  });

test("of more bodies than may be on their way the oldest give way, and one that comes whole never", async () => {
  const app = startApp().post("/echo", ({ body }) => body);
  // Without a Content-Length, so that each may still grow to 64 KiB.
  const stalled = () =>
    new ReadableStream({
      pull(controller) {
        controller.enqueue(new Uint8Array(1000).fill(32));
        return new Promise(() => {});
      },
    });
  const refused: Response[] = [];
  for (let n = 0; n < MAX_IN_FLIGHT; n += 1) {
    void app.handle(json(stalled())).then((response) => refused.push(response));
  }
  expect((await app.handle(json("{}"))).status).toBe(200);
  // 16 MiB have room for 124 of them.
  expect(refused.length).toBeGreaterThanOrEqual(876);
  const [first] = refused;
  expect([first?.status, first?.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await first?.json()).toMatchObject({ code: "overloaded" });
});

test("a body that is too large is read to its end before the answer", async () => {
  const app = startApp().post("/echo", ({ body }) => body);
  let sent = 0;
  const large = new ReadableStream({
    pull(controller) {
      sent += 1;
      if (sent > 320) controller.close();
      else controller.enqueue(new Uint8Array(65_536));
    },
  });
  const answered = await app.handle(json(large, "/nowhere"));
  expect([answered.status, sent]).toEqual([413, 321]);
  expect(await answered.json()).toMatchObject({ code: "body_too_large", instance: "/nowhere" });
});

test.each(["lab:99999999", "a b", "lab/orders?", "u:p@lab", "[::1", "%zz", "a, b"])(
  "the host %p is a bad request",
  async (host) => {
    const answered = await startApp().handle(
      new Request("http://localhost/health", { headers: { host } }),
    );
    expect(answered.status).toBe(400);
    expect(await answered.json()).toMatchObject({ code: "bad_request" });
  },
);

test.each(["lab", "lab:8001", "[::1]:80", "order-service_1:8000", ""])(
  "the host %p is answered",
  async (host) => {
    const headers = { host };
    const request = (path: string) => new Request(`http://localhost${path}`, { headers });
    expect((await startApp().handle(request("/health"))).status).toBe(200);
    expect((await startApp().handle(request("/nope"))).status).toBe(404);
  },
);

test("a query's parameter is named, whatever is wrong with it, and so is a page's next", async () => {
  const app = startApp().get(
    "/list",
    ({ query: { limit } }) => (limit === 1000 ? {} : { next_after: "x y" }),
    { query: OrderQuery },
  );
  const get = (query: string) => app.handle(new Request(`http://localhost/list?${query}`));
  const detail = async (query: string) =>
    ((await (await get(query)).json()) as { detail: string }).detail;
  expect(await detail("limit=0")).toBe("query/limit: Expected integer to be greater or equal to 1");
  expect(await detail("limit=x")).toBe("query/limit: Expected integer");
  expect(await detail("status=eaten")).toBe(
    "query/status: Expected placed or reserved or confirmed or failed",
  );
  expect(await detail("more=1")).toBe("query/more: Unexpected property");
  expect((await get("limit=2&status=failed")).headers.get("link")).toBe(
    '</list?limit=2&status=failed&after=x+y>; rel="next"',
  );
  expect((await get("limit=1000")).headers.get("link")).toBe(null);
});

test("faults are set by a body alone, and /openapi says what may be in it", async () => {
  const faults = new Faults(true, { ...OFF, delay_ms: 7 });
  const app = createApp("test", { model: "test", faults, log, health: () => ({ needs: {} }) });
  const put = (init: RequestInit) =>
    app.handle(new Request("http://localhost/faults", { method: "PUT", ...init }));
  const headers = { "content-type": "application/json" };
  const answers = await Promise.all([put({}), put({ headers }), put({ headers, body: "" })]);
  expect(answers.map(({ status }) => status)).toEqual([422, 422, 422]);
  expect(faults.settings.delay_ms).toBe(7);
  expect((await put({ headers, body: '{"__proto__":{"hang":true}}' })).status).toBe(422);
  expect(faults.settings.delay_ms).toBe(7);
  expect((await put({ headers, body: "{}" })).status).toBe(200);
  expect(faults.settings.delay_ms).toBe(0);
  const described = await app.handle(new Request("http://localhost/openapi/json"));
  expect(await described.json()).toMatchObject({
    paths: {
      "/faults": {
        put: {
          requestBody: {
            content: {
              "application/json": { schema: { properties: { hang: { type: "boolean" } } } },
            },
          },
        },
      },
    },
  });
});

test("/openapi shows every route with its curl line, and needs nothing from the net", async () => {
  const faults = new Faults(true, OFF);
  const app = createApp("test", { model: "<m>", faults, log, health: () => ({ needs: {} }) }).post(
    "/order",
    ({ body }) => body,
    { body: PlaceOrder },
  );
  const answered = await app.handle(new Request("http://localhost:8001/openapi"));
  const page = await answered.text();
  expect(answered.headers.get("content-type")).toStartWith("text/html");
  for (const route of ["GET", "/health", "PUT", "/faults", "POST", "/order"]) {
    expect(page).toContain(`<code>${route}</code>`);
  }
  expect(page).not.toContain("<code>/openapi</code>");
  expect(page).toContain("curl -i -X POST &#39;http://localhost:8001/order&#39;");
  expect(page).toContain("&#34;sku&#34;:&#34;burger&#34;");
  expect(page).not.toMatch(/<script|<m>| src=|@import|url\(/);
  expect([...page.matchAll(/href="([^"]*)"/g)].map(([, to]) => to)).toEqual([
    "data:,",
    "/openapi/json",
  ]);
});

const names = startApp().post("/order", ({ body }) => body.user_id, { body: PlaceOrder });

test.each([
  ["64 emoji", "🍔".repeat(64), 200],
  ["65 emoji", "🍔".repeat(65), 422],
  ["one that is joined of several", "👩‍🍳", 200],
  ["Persian with a joint", "می‌خواهم", 200],
  ["spaces around a name", " a ", 200],
  ["nothing", "", 422],
  ["blanks", " \u00a0\u3000", 422],
  ["what has no width", "\u200b\u200d\ufeff\ufe0f", 422],
  ["blank letters", "\u3164\u2800", 422],
  ["a tab", "a\tb", 422],
  ["a zero byte", "\0", 422],
  ["DEL", "a\u007f", 422],
  ["a C1 control", "a\u009bb", 422],
  ["a line separator", "a\u2028b", 422],
  ["another direction", "a\u202eb", 422],
])("a name of %s", async (_, user_id, status) => {
  const order = { user_id, items: [{ sku: "burger", qty: 1 }] };
  const answered = await names.handle(json(JSON.stringify(order), "/order"));
  expect(answered.status).toBe(status);
  if (status === 422)
    expect(((await answered.json()) as { detail: string }).detail).toStartWith(
      "body/user_id: Expected 1 to 64 characters",
    );
});

test.each([
  ["half of a pair", String.raw`{"user_id":"\ud83d"}`, 422],
  ["the other half", String.raw`{"user_id":"\udf54"}`, 422],
  ["a name that is half of a pair", String.raw`{"\ud83d":1}`, 422],
  ["half of a pair after a backslash", String.raw`{"user_id":"C:\\\ud83d"}`, 422],
  ["a pair", String.raw`{"user_id":"\ud83c\udf54"}`, 200],
  ["a backslash and text", String.raw`{"user_id":"C:\\ud83d"}`, 200],
  ["two backslashes and text", String.raw`{"user_id":"C:\\\\ud83d"}`, 200],
])("%s in a body", async (_, body, status) => {
  const app = startApp().post("/echo", ({ body }) => body);
  const headers = { "content-type": "application/json" };
  const init = { method: "POST", headers, body };
  const answered = await app.handle(new Request("http://localhost/echo", init));
  expect(answered.status).toBe(status);
  if (status === 200) expect(await answered.json()).toEqual(JSON.parse(body));
});

test.each([
  ["application/json;charset=utf-8", 200],
  ["application/json ; charset=utf-8", 200],
  ["Application/Problem+JSON\t;a=b", 200],
  ["text/json", 415],
  ["application/json application/json", 415],
])("a body of type %s is answered %i", async (type, status) => {
  const app = startApp().post("/echo", ({ body }) => body);
  const init = { method: "POST", headers: { "content-type": type }, body: "{}" };
  expect((await app.handle(new Request("http://localhost/echo", init))).status).toBe(status);
});

test("what was taken in by wider rules can still be read", async () => {
  const at = "2026-01-01T00:00:00.000Z";
  const old = {
    order_id: "00000000-0000-4000-8000-000000000000",
    user_id: " \t",
    kitchen: "\u2028",
    items: [{ sku: "\0", qty: 1 }],
    status: "placed" as const,
    placed_at: at,
    steps: [{ status: "placed" as const, at }],
  };
  const app = startApp().get("/orders", () => ({ orders: [old] }), {
    response: { 200: OrderPage },
  });
  const answered = await app.handle(new Request("http://localhost/orders"));
  expect(answered.status).toBe(200);
  expect(await answered.json()).toEqual({ orders: [old] });
});

test("a request that was answered with an error leaves its place, too", async () => {
  const app = startApp();
  const statuses = new Set<number>();
  for (let n = 0; n < 1_001; n += 1) statuses.add((await app.handle(post("/nowhere"))).status);
  expect([...statuses]).toEqual([404]);
});

test("what may pass is 503, until it has", async () => {
  let isDown = true;
  const app = startApp().post("/store", () => {
    if (isDown) throw new TransientError("the database is locked");
    return "stored";
  });
  const refused = await app.handle(post("/store"));
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await refused.json()).toMatchObject({ code: "store_unavailable" });
  isDown = false;
  expect((await app.handle(post("/store"))).status).toBe(200);
});

test("a consumer's commit waits for what may pass, and not for a bug to go", async () => {
  let attempts = 0;
  const store = (bug?: Error) =>
    retryTransient(log, async () => {
      attempts += 1;
      if (attempts === 1) throw new TransientError("the database is locked");
      if (bug !== undefined) throw bug;
      return "stored";
    });
  expect(await store()).toBe("stored");
  expect(attempts).toBe(2);
  expect(store(new TypeError("a bug"))).rejects.toThrow("a bug");
});
