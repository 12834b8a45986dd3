// Random honest histories, with one violation planted in each: the checker finds it, and nothing else.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newId } from "@lab/contracts/ids";
import { Inventory, INVENTORY_SCHEMA } from "@lab/store/inventory";
import { Notifications, NOTIFICATIONS_SCHEMA } from "@lab/store/notifications";
import { Orders, ORDERS_SCHEMA } from "@lab/store/orders";
import { Store } from "@lab/store/store";
import { bulkOrder } from "@lab/workflow/bulk";
import fc from "fast-check";
import { type Checked, checkOrders, type Violations, violations } from "./checker.ts";
import type { Operation, OutcomeKind } from "./history.ts";

const AT = "2026-01-01T00:00:00.000Z";

/** How an order went, and what its client heard of it. */
interface Course {
  end: "confirmed" | "failed" | "released";
  heard: OutcomeKind;
}

const SCHEMAS = {
  orders: ORDERS_SCHEMA,
  inventory: INVENTORY_SCHEMA,
  notification: NOTIFICATIONS_SCHEMA,
};

/** Files without an order. Copies of them are quicker than new ones, each of which would be synced. */
const empty = mkdtempSync(join(tmpdir(), "planted-empty-"));

beforeAll(() => {
  const stores = openStores(empty);
  new Inventory(stores.inventory.db).open(100_000);
  closeStores(stores);
});

afterAll(() => rmSync(empty, { recursive: true }));

function openStores(folder: string) {
  const open = (name: keyof typeof SCHEMAS) => {
    const store = new Store(join(folder, `${name}.sqlite`), SCHEMAS[name]);
    // Nobody cuts this power.
    store.db.run("PRAGMA synchronous = OFF");
    return store;
  };
  return {
    orders: open("orders"),
    inventory: open("inventory"),
    notification: open("notification"),
  };
}

function closeStores(stores: ReturnType<typeof openStores>): void {
  for (const store of Object.values(stores)) store.close();
}

/** The stores and the history of orders that all went right; what is planted spoils one of them. */
class World implements Disposable {
  readonly checked: Checked;
  readonly operations: Operation[] = [];
  /** An order that was confirmed and acknowledged: the one to spoil. */
  readonly victim: string;
  #lastId = 0;
  readonly #folder = mkdtempSync(join(tmpdir(), "planted-"));
  readonly #stores: ReturnType<typeof openStores>;

  constructor(courses: readonly Course[], at: number) {
    cpSync(empty, this.#folder, { recursive: true });
    this.#stores = openStores(this.#folder);
    const { orders, inventory, notification } = this.#stores;
    this.checked = {
      model: "sync-rest",
      operations: this.operations,
      orders: orders.path,
      inventory: inventory.path,
      notification: notification.path,
      metrics: { placed: 0, reserved: 0, failed: 0 },
      replay: { generation: 2, digest_before: "same", digest_after: "same" },
    };
    const spoilt: Course = { end: "confirmed", heard: "ok" };
    const ids = courses.toSpliced(at, 0, spoilt).map((course, n) => this.#run(course, n));
    this.victim = ids[at] as string;
    const failed = courses.filter(({ end }) => end !== "confirmed").length;
    this.checked.metrics = { placed: ids.length, reserved: 0, failed };
  }

  /** Runs it on a service's file, `$id` being the victim. */
  sql(store: keyof typeof SCHEMAS, sql: string): void {
    this.#stores[store].db.run(sql.replace("$id", `'${this.victim}'`));
  }

  /** Nobody has asked for the victim. */
  forget(): Operation {
    const at = this.operations.findIndex(({ order_id }) => order_id === this.victim);
    return this.operations.splice(at, 1)[0] as Operation;
  }

  [Symbol.dispose](): void {
    closeStores(this.#stores);
    rmSync(this.#folder, { recursive: true });
  }

  #run({ end, heard }: Course, n: number): string {
    const orders = new Orders(this.#stores.orders.db);
    const inventory = new Inventory(this.#stores.inventory.db);
    const failRate = end === "failed" ? 1 : 0;
    const request = bulkOrder({ seed: 1, kitchens: 25, failRate }, n);
    const { order } = orders.placeOnce(request);
    const { order_id: id, items, kitchen } = order;
    inventory.reserve(id, kitchen, items);
    if (end === "released") inventory.release(id);
    if (end === "confirmed") {
      new Notifications(this.#stores.notification.db).send(order);
      orders.advance(id, "reserved", AT);
      orders.advance(id, "confirmed", AT);
    } else {
      orders.advance(id, "failed", AT, end === "failed" ? "unknown_item" : "inventory_timeout");
    }
    // Who hears of an order that failed hears "no".
    const outcome = heard === "unknown" ? heard : end === "confirmed" ? "ok" : "failed";
    const status = { ok: 201, failed: 504, unknown: 0 }[outcome];
    this.tell(outcome, outcome === "unknown" ? { request } : { request, status, order_id: id });
    return id;
  }

  tell(outcome: OutcomeKind, more: Partial<Operation>): void {
    this.operations.push({
      id: this.#lastId++,
      kind: "place_order",
      started_us: 0,
      ended_us: 1,
      outcome,
      request: {},
      ...more,
    });
  }
}

/** One way to spoil a world for each violation. */
const PLANTED: Record<keyof Violations, (world: World) => void> = {
  lost: (world) => world.tell("ok", { status: 202, order_id: newId() }),
  stuck(world) {
    world.sql("orders", "UPDATE orders SET status = 'reserved' WHERE order_id = $id");
    world.sql("notification", "DELETE FROM notifications WHERE order_id = $id");
    const { request } = world.forget();
    world.tell("unknown", { request });
    // Analytics would count the reservation.
    delete world.checked.metrics;
  },
  doubled: (world) =>
    world.sql(
      "notification",
      `INSERT INTO notifications (order_id, user_id, text, sent_at) VALUES ($id, '', '', '')`,
    ),
  oversold({ checked }) {
    checked.openingStock = 0;
  },
  leaked: (world) =>
    world.sql(
      "inventory",
      `INSERT INTO reservations VALUES ('${newId()}', 'reserved', 'main', '[]', NULL, NULL, '')`,
    ),
  contradicted: (world) =>
    world.sql("orders", "UPDATE orders SET user_id = '' WHERE order_id = $id"),
  resurrected: (world) => world.sql("orders", `INSERT INTO order_steps VALUES ($id, 'failed', '')`),
  unexpected: (world) => world.forget(),
  unbalanced: (world) =>
    world.sql("inventory", "UPDATE stock SET quantity = quantity - 1 WHERE sku = 'taco'"),
  miscounted: ({ checked }) => {
    checked.metrics = { placed: 0, reserved: 0, failed: 0 };
  },
  endless({ checked, victim }) {
    checked.model = "async-rabbitmq";
    checked.attempts = new Map([[victim, 7]]);
  },
  unequal: ({ checked }) => {
    checked.replay = { generation: 2, digest_before: "one", digest_after: "another" };
  },
  unfinished: ({ checked }) => {
    checked.unfinished = ["1 running"];
  },
};

/** A stock that can't fall below 0 is oversold only where the sums are wrong too. */
const ALSO: Partial<Record<string, string[]>> = { oversold: ["unbalanced"] };

/** Those that name the order that was spoilt; the others name something new, or no order at all. */
const NAMING = ["stuck", "doubled", "contradicted", "resurrected", "unexpected", "endless"];

const courses = fc.array(
  fc.record<Course>({
    end: fc.constantFrom("confirmed", "failed", "released"),
    heard: fc.constantFrom("ok", "unknown"),
  }),
  { maxLength: 6 },
);

test("in an honest history nothing illegal is found, and all that is unknown is recovered", () => {
  fc.assert(
    fc.property(courses, (list) => {
      using world = new World(list, 0);
      const verdict = checkOrders(world.checked);
      expect(violations(verdict)).toEqual({});
      const unknown = list.filter(({ heard }) => heard === "unknown").length;
      expect(verdict.recovered.length).toBe(unknown);
    }),
    { numRuns: 25 },
  );
});

for (const [kind, plant] of Object.entries(PLANTED)) {
  test(`planted in an honest history: ${kind}`, () => {
    fc.assert(
      fc.property(courses, fc.nat(), (drawn, n) => {
        // Only the synchronous model gives orders up.
        const list = kind === "endless" ? drawn.filter(({ end }) => end !== "released") : drawn;
        using world = new World(list, n % (list.length + 1));
        plant(world);
        const found = violations(checkOrders(world.checked));
        expect(Object.keys(found)).toEqual([kind, ...(ALSO[kind] ?? [])]);
        if (NAMING.includes(kind)) expect(Object.values(found)[0]).toContain(world.victim);
      }),
      { numRuns: 10 },
    );
  });
}
