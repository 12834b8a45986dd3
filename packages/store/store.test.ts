import { Database } from "bun:sqlite";
import { afterEach, beforeEach, expect, spyOn, test } from "bun:test";
import { copyFileSync, mkdtempSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newEvent, type OrderPlaced } from "@lab/contracts/events";
import { isTransient } from "@lab/runtime/transient";
import { newId } from "@lab/contracts/ids";
import type { OrderStatus } from "@lab/contracts/order";
import { Analytics, ANALYTICS_SCHEMA } from "./analytics.ts";
import { Attempts, ATTEMPTS_SCHEMA, Taken, TAKEN_SCHEMA } from "./attempts.ts";
import { Bulks, BULKS_SCHEMA } from "./bulks.ts";
import { Inventory, INVENTORY_SCHEMA } from "./inventory.ts";
import { createLog } from "@lab/runtime/log";
import { Ledger, LEDGER_SCHEMA } from "./ledger.ts";
import { Notifications, NOTIFICATIONS_SCHEMA } from "./notifications.ts";
import { Orders, ORDERS_SCHEMA } from "./orders.ts";
import { Outbox, OUTBOX_SCHEMA } from "./outbox.ts";
import { Store } from "./store.ts";

const SCHEMA = [
  ...ORDERS_SCHEMA,
  ...OUTBOX_SCHEMA,
  ...INVENTORY_SCHEMA,
  ...LEDGER_SCHEMA,
  ...ANALYTICS_SCHEMA,
  ...BULKS_SCHEMA,
  ...NOTIFICATIONS_SCHEMA,
  ...ATTEMPTS_SCHEMA,
  ...TAKEN_SCHEMA,
];
const ITEMS = [{ sku: "burger", qty: 2 }];

let folder: string;
let store: Store;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "store-"));
  store = new Store(join(folder, "test.sqlite"), SCHEMA);
});

afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

test("of those that meet a locked database at once only the first waits, since nobody is answered meanwhile", async () => {
  using other = new Database(store.path);
  other.run("BEGIN IMMEDIATE");
  store.db.run("PRAGMA busy_timeout = 20");
  using clock = spyOn(performance, "now").mockReturnValue(1_000);
  using run = spyOn(store.db, "run");
  const unwaited = () => run.mock.calls.filter(([sql]) => sql === "PRAGMA busy_timeout = 0").length;
  for (let n = 0; n < 6; n += 1) expect(() => store.note(() => n)).toThrow("locked");
  expect(await store.commit(() => 0).catch(isTransient)).toBe(true);
  expect(unwaited()).toBe(6);
  other.run("ROLLBACK");
  expect([store.note(() => 1), unwaited()]).toEqual([1, 7]);
  clock.mockReturnValue(2_000);
  expect([store.note(() => 2), unwaited()]).toEqual([2, 7]);
});

test("jobs share a transaction; one that throws takes only its own writes back", async () => {
  store.db.run("CREATE TABLE t (n INTEGER) STRICT");
  const insert = (n: number) => store.db.run("INSERT INTO t VALUES (?)", [n]);
  const results = await Promise.allSettled([
    store.commit(() => insert(1)),
    store.commit(() => {
      insert(2);
      throw new Error("no");
    }),
    store.commit(() => insert(3)),
  ]);
  expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
  expect(store.db.query("SELECT n FROM t").values()).toEqual([[1], [3]]);
});

test("what waits for a commit is committed by close", async () => {
  const { order } = await place();
  const path = store.path;
  const last = store.commit(() =>
    new Orders(store.db).advance(order.order_id, "reserved", "2026-01-01"),
  );
  store.close();
  expect(await last).toBe(true);
  store = new Store(path, SCHEMA);
  expect(new Orders(store.db).get(order.order_id).status).toBe("reserved");
});

test("a full file refuses, and takes what comes when it has room again", async () => {
  const { page_count } = store.db.query<{ page_count: number }, []>("PRAGMA page_count").get()!;
  store.db.run(`PRAGMA max_page_count = ${page_count}`);
  const refused = [];
  for (let n = 0; n < 200; n++) refused.push(await place().then(String, codeOf));
  expect(refused).toContain("SQLITE_FULL");
  const orders = new Orders(store.db).list({ limit: 1000 }).length;
  expect(orders).toBe(refused.filter((code) => code !== "SQLITE_FULL").length);
  store.db.run("PRAGMA max_page_count = 1000000");
  const { order } = await place();
  expect(new Orders(store.db).get(order.order_id).status).toBe("placed");
});

test("a file that can only be read refuses, and takes what comes afterwards", async () => {
  store.db.run("PRAGMA query_only = ON");
  expect(await place().then(String, codeOf)).toBe("SQLITE_READONLY");
  store.db.run("PRAGMA query_only = OFF");
  expect((await place()).kind).toBe("placed");
});

test("a database that can't be written may pass, a broken constraint never does", async () => {
  const errorOf = (sql: string) => store.commit(() => store.db.run(sql)).catch((error) => error);
  store.db.run("PRAGMA query_only = ON");
  expect(isTransient(await errorOf("DELETE FROM orders"))).toBe(true);
  store.db.run("PRAGMA query_only = OFF");
  expect(isTransient(await errorOf("INSERT INTO orders (order_id) VALUES (NULL)"))).toBe(false);
});

function codeOf(error: unknown): string {
  return (error as { code: string }).code;
}

test("a log that is cut off in its last transaction loses that one whole, and no other", async () => {
  const first = (await place()).order;
  const last = (await place()).order;
  // As a SIGKILL leaves it, and then truncated by one byte.
  const torn = join(folder, "torn.sqlite");
  copyFileSync(store.path, torn);
  copyFileSync(`${store.path}-wal`, `${torn}-wal`);
  truncateSync(`${torn}-wal`, statSync(`${torn}-wal`).size - 1);
  using reopened = new Store(torn, SCHEMA);
  const orders = new Orders(reopened.db);
  expect(orders.get(first.order_id).steps).toHaveLength(1);
  expect(() => orders.get(last.order_id)).toThrow(last.order_id);
  expect(reopened.db.query("PRAGMA integrity_check").values()).toEqual([["ok"]]);
});

function place(key?: string) {
  return store.commit(() => new Orders(store.db).placeOnce({ user_id: "u1", items: ITEMS }, key));
}

test("an order never steps back, and its history keeps what came late", async () => {
  const orders = new Orders(store.db);
  const { order } = await place();
  const step = (status: "reserved" | "confirmed" | "failed", at: string) =>
    orders.advance(order.order_id, status, at, status === "failed" ? "x" : undefined);
  expect(step("confirmed", "2999-01-01T00:00:02Z")).toBe(true);
  expect(step("reserved", "2999-01-01T00:00:01Z")).toBe(false);
  expect(step("failed", "2999-01-01T00:00:03Z")).toBe(false);
  const { status, steps } = orders.get(order.order_id);
  expect(status).toBe("confirmed");
  expect(steps.map((one) => one.status)).toEqual(["placed", "reserved", "confirmed"]);
});

test("steps come in the order in which they can happen, whatever their clocks say", async () => {
  const orders = new Orders(store.db);
  const stepsOf = async (...told: [status: "reserved" | "confirmed" | "failed", at: string][]) => {
    const { order } = await place();
    for (const [status, at] of told) {
      orders.advance(order.order_id, status, at, status === "failed" ? "x" : undefined);
    }
    return orders.get(order.order_id).steps.map(({ status }) => status);
  };
  const now = new Date().toISOString();
  const all: OrderStatus[] = ["placed", "reserved", "confirmed"];
  expect(await stepsOf(["reserved", now], ["confirmed", now])).toEqual(all);
  expect(await stepsOf(["reserved", "2020-01-01"], ["confirmed", "2021-01-01"])).toEqual(all);
  expect(await stepsOf(["reserved", "2099-01-01"], ["confirmed", "2021-01-01"])).toEqual(all);
  expect(await stepsOf(["failed", "2020-01-01"])).toEqual(["placed", "failed"]);
});

test("pages follow each other without a gap", async () => {
  const placed = [];
  for (let n = 0; n < 5; n++) placed.push((await place()).order.order_id);
  const orders = new Orders(store.db);
  const first = orders.page({ limit: 3 });
  const second = orders.page({ limit: 3, after: first.next_after });
  const ids = [...first.orders, ...second.orders].map((o) => o.order_id);
  expect(ids).toEqual(placed);
  expect(second.next_after).toBeUndefined();
  // A full page that is also the last.
  expect(orders.page({ limit: 5 }).next_after).toBeUndefined();
});

test("a page of confirmations says where the next one begins, if there is one", async () => {
  const notifications = new Notifications(store.db);
  const ids = [newId(), newId()];
  for (const order_id of ids) {
    await store.commit(() => notifications.send({ order_id, user_id: "u1", kitchen: "main" }));
  }
  const first = notifications.page({ limit: 1 });
  expect(first.next_after).toBe(ids[0]);
  expect(notifications.page({ limit: 1, after: first.next_after })).toEqual({
    notifications: [expect.objectContaining({ order_id: ids[1] })],
  });
});

test("the key of an order that left nothing goes over to the next one, any other key stays", async () => {
  const orders = new Orders(store.db);
  const request = { user_id: "u1", items: ITEMS };
  const placeUnder = (key: string, more = {}) =>
    store.commit(() => orders.placeOnce({ ...request, ...more }, key));
  for (const [reason, kind] of [
    ["inventory_unreachable", "placed"],
    ["out_of_stock", "known"],
    ["inventory_timeout", "known"],
  ] as const) {
    const first = await placeUnder(reason);
    expect((await placeUnder(reason)).kind).toBe("known");
    await store.commit(() => orders.advance(first.order.order_id, "failed", "2026-01-01", reason));
    expect(await placeUnder(reason, { user_id: "other" }).catch(codeOf)).toBe(
      "idempotency_key_reused",
    );
    const again = await placeUnder(reason);
    expect([again.kind, again.order.order_id === first.order.order_id]).toEqual([
      kind,
      kind === "known",
    ]);
    expect(orders.get(first.order.order_id)).toMatchObject({ status: "failed", reason });
    expect((await placeUnder(reason)).order.order_id).toBe(again.order.order_id);
  }
});

test("what is owed of the orders is counted without those in hand", async () => {
  const orders = new Orders(store.db);
  const [first, second] = [await place(), await place()].map(({ order }) => order.order_id);
  expect(orders.owed("placed", new Set()).count).toBe(2);
  expect(orders.owed("placed", new Set([first!])).count).toBe(1);
  expect(orders.owed("reserved", new Set())).toEqual({ count: 0, oldest_s: 0 });
  expect(orders.inStatus("placed", 9, first!)).toEqual([second!]);
});

test("the outbox gives what is unsent, oldest first", async () => {
  const outbox = new Outbox(store.db);
  const { order } = await place();
  const { order_id, user_id, kitchen, items } = order;
  const data = { order_id, user_id, kitchen, items };
  for (const source of ["a", "b", "c"]) {
    outbox.add("main", newEvent("OrderPlaced", source, data));
  }
  outbox.markSent(outbox.unsent(1));
  expect(outbox.unsent(9).map(({ body }) => JSON.parse(body).source)).toEqual(["b", "c"]);
  expect(outbox.owed().count).toBe(2);
});

const LOG = createLog("test", "error");
const ORDER = { user_id: "u1", kitchen: "main", items: ITEMS };

test("the ledger runs an effect once and gives its outcome again", () => {
  const ledger = new Ledger(store.db, "test", LOG);
  const event = newEvent("OrderPlaced", "test", { order_id: newId(), ...ORDER });
  let effects = 0;
  const effect = () => ({ kind: "done", outcome: `outcome ${++effects}` }) as const;
  const first = { kind: "done", outcome: "outcome 1" } as const;
  const again = [ledger.once(event, effect), ledger.once({ ...event }, effect)];
  expect(again).toEqual([first, first]);
  expect(new Ledger(store.db, "other", LOG).once(event, effect)).not.toEqual(first);
});

test("under the id of a processed event another source's is another, its own source's is reused", () => {
  const ledger = new Ledger(store.db, "test", LOG);
  const event = newEvent("OrderPlaced", "test", { order_id: newId(), ...ORDER });
  const once = (of: OrderPlaced) => ledger.once(of, () => ({ kind: "done", outcome: of.source }));
  once(event);
  expect(once({ ...event, source: "other" })).toEqual({ kind: "done", outcome: "other" });
  const other = { ...event, data: { ...event.data, user_id: "u2" } };
  expect(once(other).kind).toBe("reused");
  // A refused one leaves nothing behind.
  expect(once(event)).toEqual({ kind: "done", outcome: "test" });
});

test("a ledger from before knows its events again, and others under their ids", () => {
  const path = join(folder, "before.sqlite");
  const event = newEvent("OrderPlaced", "test", { order_id: newId(), ...ORDER });
  const outcome = JSON.stringify({ subject: event.subject });
  const before = new Store(path, LEDGER_SCHEMA.slice(0, 1));
  before.db.run("INSERT INTO ledger VALUES ('test', ?, ?, '')", [event.id, outcome]);
  before.close();
  using now = new Store(path, LEDGER_SCHEMA);
  const ledger = new Ledger(now.db, "test", LOG);
  const once = (of: OrderPlaced) => ledger.once(of, () => ({ kind: "done", outcome: "new" }));
  expect(once(event)).toEqual({ kind: "done", outcome });
  expect(once({ ...event, subject: newId() }).kind).toBe("reused");
});

test("an order id that is known stands for that order alone", () => {
  const inventory = new Inventory(store.db);
  inventory.open(10);
  const notifications = new Notifications(store.db);
  const id = newId();
  const reserve = (kitchen: string, items: typeof ITEMS, userId?: string) =>
    inventory.reserve(id, kitchen, items, userId).kind;
  expect([
    reserve("main", ITEMS, "u1"),
    reserve("main", ITEMS, "u1"),
    reserve("main", ITEMS),
    reserve("main", ITEMS, "u2"),
    reserve("k01", ITEMS, "u1"),
    reserve("main", [{ sku: "burger", qty: 3 }], "u1"),
  ]).toEqual(["reserved", "reserved", "reserved", "reused", "reused", "reused"]);
  const send = (kitchen: string, user_id: string) =>
    notifications.send({ order_id: id, kitchen, user_id }).kind;
  expect([send("main", "u1"), send("main", "u1"), send("main", "u2"), send("k01", "u1")]).toEqual([
    "sent",
    "sent_before",
    "reused",
    "reused",
  ]);
});

test("a message with which processes die is tried a few times, then dead-lettered, then left alone", () => {
  const attempts = new Attempts(store);
  const tries = () => attempts.begin("m1");
  expect([tries(), tries()]).toEqual(["try", "try"]);
  // An attempt that ends clears it.
  attempts.end("m1");
  expect([tries(), tries(), tries()]).toEqual(["try", "try", "try"]);
  expect([tries(), tries()]).toEqual(["dead-letter", "dead-letter"]);
  attempts.deadLettered("m1");
  expect([tries(), attempts.begin("m2")]).toEqual(["skip", "try"]);
  expect([...attempts.dead()]).toEqual([["m1", "dead-lettered"]]);
});

test("what an earlier process had taken is taken in small portions, then one by one", () => {
  let taken = new Taken(store);
  const at = (offset: number) => taken.portion("t", 0, offset, 1000);
  const whole = { most: 1000, suspect: false };
  expect(at(100)).toEqual(whole);
  taken.note("t", 0, 100, 1100, at(100));
  taken = new Taken(store);
  // A second reader in the same process, as for a replay.
  expect(at(100)).toEqual(whole);
  taken = new Taken(store, "second");
  expect([at(99), at(1100)]).toEqual([whole, whole]);
  expect([at(100), at(1090)]).toEqual([
    { most: 32, suspect: true },
    { most: 10, suspect: true },
  ]);
  taken.note("t", 0, 132, 164, at(132));
  expect(at(132)).toEqual({ most: 32, suspect: true });
  taken = new Taken(store, "third");
  expect([at(131).most, at(132).most, at(163).most, at(164).most]).toEqual([32, 1, 1, 32]);
  taken.note("t", 0, 1100, 1120, at(1100));
  taken = new Taken(store, "fourth");
  expect([at(1110), at(132)]).toEqual([{ most: 1, suspect: true }, whole]);
});

test("what is noted is there for the next process, and what is committed still waits for the disk", () => {
  store.note(() => store.db.run("CREATE TABLE n (x INTEGER) STRICT"));
  using other = new Store(store.path, SCHEMA);
  expect(other.db.query("SELECT * FROM n").all()).toEqual([]);
  expect(store.db.query("PRAGMA synchronous").get()).toEqual({ synchronous: 2 });
});

test("a reservation is taken once, given back once", () => {
  const inventory = new Inventory(store.db);
  inventory.open(10);
  const id = newId();
  const left = () => inventory.stock("main").find(({ sku }) => sku === "burger")?.quantity;
  inventory.reserve(id, "main", ITEMS);
  inventory.reserve(id, "main", ITEMS);
  expect(left()).toBe(8);
  inventory.release(id);
  inventory.release(id);
  expect(left()).toBe(10);
});

test("a release wins over a reserve that comes later", () => {
  const inventory = new Inventory(store.db);
  inventory.open(10);
  const id = newId();
  inventory.release(id);
  expect(inventory.reserve(id, "main", ITEMS)).toMatchObject({
    kind: "rejected",
    reason: "order_released",
  });
  expect(inventory.reservation(id).state).toBe("released");
});

test("opening stock is not put in twice", () => {
  const inventory = new Inventory(store.db);
  inventory.open(10);
  inventory.reserve(newId(), "main", ITEMS);
  inventory.open(10);
  expect(inventory.stock("main").find(({ sku }) => sku === "burger")?.quantity).toBe(8);
});

test("a fold ignores offsets and events that it had, and a replay finds the same", () => {
  const analytics = new Analytics(store.db);
  analytics.open();
  const order_id = newId();
  const event = newEvent("OrderPlaced", "test", {
    order_id,
    user_id: "u1",
    kitchen: "main",
    items: ITEMS,
  });
  const { generation } = analytics.live();
  const first = [{ offset: 0, event }];
  analytics.fold(generation, "t", 0, { expected: 0, records: first, next: 1 });
  analytics.fold(generation, "t", 0, { expected: 1, records: first, next: 1 });
  // The same event, written twice.
  analytics.fold(generation, "t", 0, { expected: 1, records: [{ offset: 1, event }], next: 2 });
  // Read at a position that is no longer the fold's.
  const other = { expected: 0, records: [{ offset: 5, event }], next: 6 };
  expect(analytics.fold(generation, "t", 0, other)).toBeUndefined();
  expect(analytics.metrics(generation).placed).toBe(1);

  analytics.beginReplay(false);
  const replay = analytics.replaying();
  expect(replay?.targets).toEqual({ t: { 0: 2 } });
  const records = [...first, { offset: 1, event }];
  analytics.fold(analytics.current(), "t", 0, { expected: 0, records, next: 2 });
  const done = analytics.endReplay();
  expect(done.digest_after).toBe(done.digest_before);
  expect(analytics.live().generation).toBe(done.generation);
});

test("a fold counts one event of a source under an id, and says which others there are", () => {
  const analytics = new Analytics(store.db);
  analytics.open();
  const { generation } = analytics.live();
  const event = newEvent("OrderPlaced", "test", { order_id: newId(), ...ORDER });
  const other = { ...event, data: { ...event.data, user_id: "u2" } };
  const foreign = { ...event, source: "another-shop" };
  const records = [event, other, foreign].map((of, offset) => ({ offset, event: of }));
  expect(analytics.fold(generation, "t", 0, { expected: 0, records, next: 3 })).toEqual([1]);
  expect(analytics.metrics(generation).placed).toBe(2);
});

test("a bulk stream is due in steps of the limit, and ends", () => {
  const bulks = new Bulks(store.db);
  const { bulk_id } = bulks.begin({
    count: 5,
    seed: 1,
    kitchens: 24,
    fail_rate: 0,
  });
  expect(bulks.running(3)[0]?.due).toEqual([0, 1, 2]);
  expect(bulks.advance(bulk_id, 3).state).toBe("running");
  expect(bulks.running(3)[0]?.due).toEqual([3, 4]);
  expect(bulks.advance(bulk_id, 2).state).toBe("finished");
  expect(bulks.running(3)).toEqual([]);
});
