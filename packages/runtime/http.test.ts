import { expect, test } from "bun:test";
import { Database } from "bun:sqlite";
import { Faults } from "./faults.ts";
import { createApp } from "./http.ts";
import { createLog } from "./log.ts";
import { patiently } from "./patience.ts";

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
  const running = Array.from({ length: 1_000 }, () => app.handle(post("/wait")));
  const refused = await app.handle(post("/wait"));
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await refused.json()).toMatchObject({ code: "overloaded", instance: "/wait" });
  expect((await app.handle(new Request("http://localhost/health"))).status).toBe(200);
  open.resolve();
  expect((await Promise.all(running)).every(({ ok }) => ok)).toBe(true);
  expect((await app.handle(post("/wait"))).status).toBe(200);
});

test("bodies on their way have a limit of their own, and the worked on are refused by none of them", async () => {
  const app = startApp().post("/echo", ({ body }) => body);
  const sent = Promise.withResolvers<void>();
  const send = (body: ReadableStream | string) =>
    app.handle(
      new Request("http://localhost/echo", {
        method: "POST",
        headers: { "content-type": "application/json" },
        body,
      }),
    );
  const slowly = () =>
    new ReadableStream({
      async pull(controller) {
        await sent.promise;
        controller.enqueue(new TextEncoder().encode("{}"));
        controller.close();
      },
    });
  const arriving = Array.from({ length: 9_999 }, () => send(slowly()));
  expect((await send("{}")).status).toBe(200);
  arriving.push(send(slowly()));
  const refused = await send("{}");
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await refused.json()).toMatchObject({ code: "overloaded" });
  sent.resolve();
  await Promise.all(arriving);
  expect((await send("{}")).status).toBe(200);
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

test("a request that was answered with an error leaves its place, too", async () => {
  const app = startApp();
  const statuses = new Set<number>();
  for (let n = 0; n < 1_001; n += 1) statuses.add((await app.handle(post("/nowhere"))).status);
  expect([...statuses]).toEqual([404]);
});

test("a database that can't be written is 503, until it is well again", async () => {
  using db = new Database(":memory:");
  db.run("CREATE TABLE t (n INTEGER) STRICT");
  const app = startApp().post("/store", () => {
    db.run("INSERT INTO t VALUES (1)");
    return "stored";
  });
  db.run("PRAGMA query_only = ON");
  const refused = await app.handle(post("/store"));
  expect([refused.status, refused.headers.get("retry-after")]).toEqual([503, "1"]);
  expect(await refused.json()).toMatchObject({ code: "store_unavailable" });
  db.run("PRAGMA query_only = OFF");
  expect((await app.handle(post("/store"))).status).toBe(200);
});

test("a consumer's commit waits for the database, and not for a bug to go", async () => {
  using db = new Database(":memory:");
  db.run("CREATE TABLE t (n INTEGER NOT NULL) STRICT");
  db.run("PRAGMA query_only = ON");
  let attempts = 0;
  const insert = (value: number | null) =>
    patiently(log, async () => {
      attempts += 1;
      if (attempts === 2) db.run("PRAGMA query_only = OFF");
      db.run("INSERT INTO t VALUES (?)", [value]);
      return "stored";
    });
  expect(await insert(1)).toBe("stored");
  expect(attempts).toBe(2);
  expect(insert(null)).rejects.toThrow("NOT NULL");
});
