// Random correct histories, with one violation planted in each: the checker finds it, and nothing
// else.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newEvent } from "@lab/contracts/events";
import { newId } from "@lab/contracts/ids";
import { createLog } from "@lab/runtime/log";
import { BULKS_SCHEMA } from "@lab/store/bulks";
import { Inventory, INVENTORY_SCHEMA } from "@lab/store/inventory";
import { Ledger, LEDGER_SCHEMA } from "@lab/store/ledger";
import { Notifications, NOTIFICATIONS_SCHEMA } from "@lab/store/notifications";
import { Orders, ORDERS_SCHEMA } from "@lab/store/orders";
import { Outbox, OUTBOX_SCHEMA } from "@lab/store/outbox";
import { Store } from "@lab/store/store";
import { bulkOrder } from "@lab/workflow/bulk";
import { type Counter, type Metrics, metricsOf } from "@lab/workflow/metrics";
import fc from "fast-check";
import { type Checked, checkOrders, type Violations, violations } from "./checker.ts";
import type { Model } from "@lab/evidence/evidence";
import { models } from "@lab/evidence/experiments";
import type { Operation, OutcomeKind } from "../load/history.ts";
import { factsOf } from "../brokers/model-facts.ts";

const AT = "2026-01-01T00:00:00.000Z";

/** How an order ended, and the outcome that its client saw. */
interface Course {
  end: "well" | "failed" | "released" | "dead";
  heard: OutcomeKind;
  keyed: boolean;
}

/**
 * The possible ends in each model: a waiting client may give up, and messages may be dead-lettered.
 */
function endsOf(model: Model): Course["end"][] {
  return ["well", "failed", factsOf(model).broker ? "dead" : "released"];
}
const MODELS = models.map(({ model }) => model);

const SCHEMAS = {
  orders: [...ORDERS_SCHEMA, ...OUTBOX_SCHEMA, ...BULKS_SCHEMA],
  inventory: [...INVENTORY_SCHEMA, ...LEDGER_SCHEMA],
  notification: NOTIFICATIONS_SCHEMA,
};

/**
 * Files without orders. Copying them is faster than creating new ones, each of which would be
 * synced.
 */
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
    // No power failure to survive here.
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

/**
 * The stores and the history of orders that were all processed correctly; a planted violation
 * corrupts one of them.
 */
class World implements Disposable {
  readonly checked: Checked;
  readonly operations: Operation[] = [];
  /** An order that ended well and was acknowledged: the one to corrupt. */
  readonly victim: string;
  readonly #at: number;
  readonly #counters: Counter[] = [];
  readonly #dead: string[] = [];
  readonly #folder = mkdtempSync(join(tmpdir(), "planted-"));
  readonly #model: Model;
  readonly #stores: ReturnType<typeof openStores>;
  #lastId = 0;

  constructor(model: Model, courses: readonly Course[], at: number) {
    cpSync(empty, this.#folder, { recursive: true });
    this.#at = at;
    this.#model = model;
    this.#stores = openStores(this.#folder);
    const { orders, inventory, notification } = this.#stores;
    this.checked = {
      model,
      operations: this.operations,
      orders: orders.path,
      inventory: inventory.path,
      ...(this.streaming ? {} : { notification: notification.path }),
      dead: this.#dead,
      replay: { generation: 2, digest_before: "same", digest_after: "same" },
    };
    const spoilt: Course = { end: "well", heard: "ok", keyed: true };
    const ids = courses.toSpliced(at, 0, spoilt).map((course, n) => this.#run(course, n));
    this.victim = ids[at] as string;
    if (this.streaming) this.checked.metrics = metricsOf(this.#counters);
  }

  get streaming(): boolean {
    return factsOf(this.#model).downstream === "analytics";
  }

  /** Runs SQL on a service's file; `$id` is the victim. */
  sql(store: keyof typeof SCHEMAS, sql: string): void {
    this.#stores[store].db.run(sql.replace("$id", `'${this.victim}'`));
  }

  /** The id of the order's OrderPlaced event. */
  eventOf(orderId: string): string {
    const unsent = new Outbox(this.#stores.orders.db).unsent(99);
    return unsent.find(({ body }) => body.includes(orderId))!.event_id;
  }

  /** Removes the victim's request from the history. */
  forget(): Operation {
    const at = this.operations.findIndex(({ order_id }) => order_id === this.victim);
    return this.operations.splice(at, 1)[0] as Operation;
  }

  /** The same order by the same client, once more; its id. */
  twin(): string {
    const id = this.#run({ end: "well", heard: "ok", keyed: true }, this.#at);
    if (this.streaming) this.checked.metrics = metricsOf(this.#counters);
    return id;
  }

  [Symbol.dispose](): void {
    closeStores(this.#stores);
    rmSync(this.#folder, { recursive: true });
  }

  #run({ end, heard, keyed }: Course, n: number): string {
    const orders = new Orders(this.#stores.orders.db);
    const request = bulkOrder({ seed: 1, kitchens: 25, failRate: end === "failed" ? 1 : 0 }, n);
    const { order } = orders.placeOnce(request);
    const { order_id: id, items, kitchen, user_id } = order;
    const placed = { order_id: id, user_id, kitchen, items };
    const event = newEvent("OrderPlaced", "test", placed);
    new Outbox(this.#stores.orders.db).add(kitchen, event);
    const count = (metric: Counter["metric"], bucket = "") =>
      this.#counters.push({ metric, kitchen, bucket, n: 1 });
    count("placed");
    if (end === "dead") this.#dead.push(id);
    else {
      const { db } = this.#stores.inventory;
      const inventory = new Inventory(db);
      const ledger = new Ledger(db, "inventory", createLog("test", "error"));
      const { kind } = inventory.reserve(id, kitchen, items);
      ledger.once(event, () => ({ kind: "done", outcome: kind }));
      if (end === "released") inventory.release(id);
    }
    const code = end === "failed" ? "unknown_item" : "inventory_timeout";
    if (end === "well") {
      count("reserved");
      orders.advance(id, "reserved", AT);
      if (!this.streaming) {
        new Notifications(this.#stores.notification.db).send(order);
        orders.advance(id, "confirmed", AT);
      }
    } else if (end !== "dead") {
      count("failed", code);
      orders.advance(id, "failed", AT, code);
    }
    const key = keyed ? { key: `key-${n}` } : {};
    if (heard === "unknown") this.tell(heard, { request, ...key });
    else if (factsOf(this.#model).broker) {
      this.tell("ok", { request, status: 202, order_id: id, ...key });
    } else if (end === "well") this.tell("ok", { request, status: 201, order_id: id, ...key });
    else this.tell("failed", { request, status: 504, code, order_id: id, ...key });
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

interface Plant {
  plant(world: World): void;
  /** The models in which it is a violation; all by default. */
  models?: Model[];
  /** Whether the corrupted order is named; otherwise another order, or none. */
  named?: boolean;
  /** Other violations that are found with it. */
  also?: (keyof Violations)[];
}

/** One way to produce each violation. */
const PLANTED: Record<keyof Violations, Plant> = {
  lost: { plant: (world) => world.tell("ok", { status: 202, order_id: newId() }) },
  stuck: {
    named: true,
    plant(world) {
      const status = world.streaming ? "placed" : "reserved";
      world.sql("orders", `UPDATE orders SET status = '${status}' WHERE order_id = $id`);
      world.sql("notification", "DELETE FROM notifications WHERE order_id = $id");
      const { key = "", request } = world.forget();
      world.tell("unknown", { request, key });
      // Analytics would count the reservation.
      delete world.checked.metrics;
    },
  },
  doubled: { named: true, plant: (world) => void world.twin() },
  swallowed: {
    named: true,
    models: ["async-rabbitmq", "streaming-kafka"],
    plant: (world) =>
      world.sql(
        "inventory",
        `UPDATE ledger SET digest = 'of another' WHERE event_id = '${world.eventOf(world.victim)}'`,
      ),
  },
  // Stock can't fall below 0, so it is oversold only where the sums are wrong too.
  oversold: {
    also: ["unbalanced"],
    plant({ checked }) {
      checked.openingStock = 0;
    },
  },
  leaked: {
    plant: (world) =>
      world.sql(
        "inventory",
        `INSERT INTO reservations VALUES ('${newId()}', 'reserved', 'main', '[]', NULL, NULL, '', NULL)`,
      ),
  },
  contradicted: {
    named: true,
    plant: (world) => world.sql("orders", "UPDATE orders SET user_id = '' WHERE order_id = $id"),
  },
  resurrected: {
    named: true,
    plant: (world) => world.sql("orders", `INSERT INTO order_steps VALUES ($id, 'failed', '')`),
  },
  reordered: {
    models: ["streaming-kafka"],
    plant(world) {
      world.sql("inventory", "UPDATE ledger SET processed_at = '9999'");
      world.twin();
      // The twin belongs to another client.
      for (const operation of world.operations) delete operation.key;
    },
  },
  unexpected: { named: true, plant: (world) => world.forget() },
  unbalanced: {
    plant: (world) =>
      world.sql("inventory", "UPDATE stock SET quantity = quantity - 1 WHERE sku = 'taco'"),
  },
  miscounted: {
    plant({ checked }) {
      checked.metrics = metricsOf([]);
    },
  },
  worsened: {
    models: ["streaming-kafka"],
    plant({ checked }) {
      const right = checked.metrics as Metrics;
      checked.shown = [right, { ...right, placed: right.placed + 1 }];
    },
  },
  endless: {
    named: true,
    models: ["async-rabbitmq", "streaming-kafka"],
    plant({ checked, victim }) {
      checked.attempts = new Map([[victim, 7]]);
    },
  },
  unequal: {
    plant({ checked }) {
      checked.replay = { generation: 2, digest_before: "one", digest_after: "another" };
    },
  },
  unfinished: {
    plant({ checked }) {
      checked.unfinished = ["1 running"];
    },
  },
  unnoticed: {
    plant({ checked }) {
      checked.unnoticed = ["1 queued"];
    },
  },
};

/** A model, and the ends of its orders. */
function worlds(models: readonly Model[] = MODELS) {
  return fc.constantFrom(...models).chain((model) =>
    fc.record({
      model: fc.constant(model),
      courses: fc.array(
        fc.record<Course>({
          end: fc.constantFrom(...endsOf(model)),
          heard: fc.constantFrom("ok", "unknown"),
          keyed: fc.boolean(),
        }),
        { maxLength: 6 },
      ),
    }),
  );
}

test("in an honest history nothing illegal is found, and all that is unknown is recovered", () => {
  fc.assert(
    fc.property(worlds(), ({ courses, model }) => {
      using world = new World(model, courses, 0);
      const verdict = checkOrders(world.checked);
      expect(violations(verdict)).toEqual({});
      const of = (is: (course: Course) => boolean) => courses.filter(is).length;
      expect([verdict.recovered.length, verdict.dead.length]).toEqual([
        of(({ end, heard }) => heard === "unknown" && end !== "dead"),
        of(({ end }) => end === "dead"),
      ]);
    }),
    { numRuns: 30 },
  );
});

for (const [kind, { also = [], models, named = false, plant }] of Object.entries(PLANTED)) {
  test(`planted in an honest history: ${kind}`, () => {
    fc.assert(
      fc.property(worlds(models), fc.nat(), ({ courses, model }, n) => {
        using world = new World(model, courses, n % (courses.length + 1));
        plant(world);
        const found = violations(checkOrders(world.checked));
        expect(Object.keys(found)).toEqual([kind, ...also]);
        if (named) expect(Object.values(found)[0]).toContain(world.victim);
      }),
      { numRuns: 15 },
    );
  });
}
