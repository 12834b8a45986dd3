/**
 * Yardstick: the three hops of an order on raw Bun.serve and fetch, one SQLite write each, without
 * validation, timeouts or repairs.
 *
 *   bun rest-hops.ts ROLE DATABASE SYNCHRONOUS [INVENTORY_URL NOTIFICATION_URL]
 *
 * With SYNCHRONOUS=FULL each thing that a service must not forget is a commit of its own: that the
 * order exists, and how it ended, in two.
 */
import { Database } from "bun:sqlite";

const [role, database, synchronous, inventoryUrl, notificationUrl] = process.argv.slice(2) as [
  "order" | "inventory" | "notification",
  string,
  "NORMAL" | "FULL",
  string,
  string,
];

const db = new Database(database, { create: true });
db.run("PRAGMA journal_mode = WAL");
db.run(`PRAGMA synchronous = ${synchronous}`);
db.run("CREATE TABLE done (id TEXT PRIMARY KEY, body TEXT NOT NULL, status TEXT NOT NULL)");
const insert = db.query("INSERT INTO done VALUES (?, ?, ?)");
const update = db.query("UPDATE done SET status = ? WHERE id = ?");

async function call(url: string, body: object): Promise<void> {
  const response = await fetch(url, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  if (!response.ok) throw new Error(`${url} answered ${response.status}`);
  await response.json();
}

async function place(body: object): Promise<Response> {
  const order_id = Bun.randomUUIDv7();
  insert.run(order_id, JSON.stringify(body), "placed");
  await call(inventoryUrl, { order_id, ...body });
  await call(notificationUrl, { order_id, ...body });
  if (synchronous === "FULL") update.run("confirmed", order_id);
  return Response.json({ order_id, status: "confirmed" }, { status: 201 });
}

const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  async fetch(request) {
    const body = (await request.json()) as { order_id: string };
    if (role === "order") return place(body);
    insert.run(body.order_id, JSON.stringify(body), "done");
    return Response.json({ order_id: body.order_id, state: "done" });
  },
});
console.log(JSON.stringify({ event: "ready", url: server.url.origin }));
