/** What happens when another process changes a database's files while it is open. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  truncateSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Orders, ORDERS_SCHEMA } from "../orders.ts";
import { Store } from "../store.ts";

let folder: string;
let store: Store;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "store-"));
  store = new Store(join(folder, "test.sqlite"), ORDERS_SCHEMA);
});

afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true, force: true });
});

function place() {
  const order = { user_id: "u1", items: [{ sku: "burger", qty: 2 }] };
  return store.commit(() => new Orders(store.db).placeOnce(order));
}

async function becomes(healthy: boolean): Promise<void> {
  while (store.healthy() !== healthy) await Bun.sleep(1);
}

const wal = () => `${store.path}-wal`;
const overwrite = (path: string) => {
  const file = openSync(path, "r+");
  writeSync(file, new Uint8Array(4096).fill(7));
  closeSync(file);
};

test.each<[what: string, happen: () => void, problem: string]>([
  ["deleted", () => rmSync(store.path), "is gone"],
  ["deleted with its folder", () => rmSync(folder, { recursive: true }), "is gone"],
  ["deleted but for the log", () => rmSync(`${store.path}-shm`), "-shm is gone"],
  ["without its log", () => rmSync(wal()), "-wal is gone"],
  ["replaced", () => replace(store.path), "is another file"],
  ["replaced in its log", () => replace(wal()), "-wal is another file"],
  ["emptied", () => truncateSync(store.path), "was overwritten"],
  ["cut off", () => truncateSync(store.path, 4096), "was overwritten"],
  ["overwritten", () => overwrite(store.path), "was overwritten"],
  ["emptied in its log", () => truncateSync(wal()), "-wal was overwritten"],
  ["overwritten in its log", () => overwrite(wal()), "-wal was overwritten"],
])("a database that is %s refuses, and says what is wrong", async (_, happen, problem) => {
  await Promise.all(Array.from({ length: 300 }, place));
  store.db.run("PRAGMA wal_checkpoint");
  await place();
  expect([store.healthy(), store.problems()]).toEqual([true, []]);
  happen();
  await becomes(false);
  expect(await place().catch((error: Error) => error.name)).toBe("DatabaseLost");
  expect(store.problems()).toEqual([expect.stringContaining(problem)]);
  mkdirSync(folder, { recursive: true });
});

test("a database that was moved away goes on once it is back", async () => {
  const { order } = await place();
  const away = `${store.path}.away`;
  renameSync(store.path, away);
  await becomes(false);
  renameSync(away, store.path);
  await becomes(true);
  await place();
  const { length } = new Orders(store.db).list({ limit: 9 });
  expect([new Orders(store.db).get(order.order_id).status, length]).toEqual(["placed", 2]);
});

test("what lost its log is whole when it is closed, and another's log is left alone", async () => {
  const { order } = await place();
  const path = store.path;
  rmSync(wal());
  store.close();
  store = new Store(path, ORDERS_SCHEMA);
  expect(new Orders(store.db).get(order.order_id).status).toBe("placed");
  replace(wal());
  store.close();
  expect(existsSync(wal())).toBe(true);
  rmSync(wal());
  store = new Store(path, ORDERS_SCHEMA);
});

/** As restoring a copy does: another file under the same name. */
function replace(path: string): void {
  copyFileSync(path, `${path}.copy`);
  renameSync(`${path}.copy`, path);
}

test("once a commit was refused, health tells when one is possible again", async () => {
  store.db.run("PRAGMA query_only = ON");
  expect(await place().catch(({ code }) => code)).toBe("SQLITE_READONLY");
  expect(store.healthy()).toBe(false);
  store.db.run("PRAGMA query_only = OFF");
  expect(store.healthy()).toBe(true);
});
