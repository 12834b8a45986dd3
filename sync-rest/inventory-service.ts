/**
 * Inventory of the synchronous model.
 *
 * Hears: POST /reserve, POST /release from the order service.
 * Says:  nothing by itself; the answer is all it says.
 * Keeps: stock and reservations, tombstones of released orders among them.
 *
 * Notice: a caller that gave up is not seen here. A reserve can arrive after
 * the release of the same order, so the release leaves a tombstone that wins.
 */
import { OrderId } from "@lab/contracts/ids";
import { Release, repeatedSku, Reservation, Reserve, StockRow } from "@lab/contracts/order";
import { Problem } from "@lab/contracts/problem";
import { serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs, type Faults } from "@lab/runtime/faults";
import { createApp } from "@lab/runtime/http/app";
import { createLog, type Log } from "@lab/runtime/log";
import { OrderParams } from "@lab/runtime/http/requests";
import { listen, runService, type Service } from "@lab/runtime/service";
import { Inventory, INVENTORY_SCHEMA } from "@lab/store/inventory";
import { Store } from "@lab/store/store";
import { OPENING_STOCK } from "@lab/workflow/menu";
import { type Static, Type } from "@sinclair/typebox";

export const Config = Type.Object({
  ...serviceKnobs({ port: 8002, database: ".lab/data/sync-rest/inventory.sqlite" }),
  ...faultKnobs("inventory"),
  /** Units of everything in every kitchen, when the database is new. */
  openingStock: Type.Integer({ minimum: 0, default: OPENING_STOCK }),
});

export async function startInventory(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("inventory-service", config.logLevel);
  const faults = createFaults("inventory", config);
  const store = new Store(config.database, INVENTORY_SCHEMA);
  const inventory = new Inventory(store.db);
  await store.commit(() => inventory.open(config.openingStock));
  const stock = { faults, inventory, log, store };

  const app = createApp("inventory-service", {
    model: "sync-rest",
    faults,
    log,
    health: () => ({ needs: { database: store.healthy() }, problems: store.problems() }),
  })
    // 2. Reserve stock
    .post("/reserve", ({ body }) => onReserve(stock, body), {
      body: Reserve,
      response: { 200: Reserved },
      detail: { summary: "Reserve all items of an order, or none" },
    })
    .post("/release", ({ body }) => onRelease(stock, body), {
      body: Release,
      response: { 200: Released },
      detail: {
        summary: "Give an order's stock back; wins over a late reserve",
      },
    })
    .get("/stock", ({ query }) => inventory.stock(query.kitchen), {
      query: Type.Object({ kitchen: Type.Optional(Type.String()) }),
      response: { 200: Type.Array(StockRow) },
    })
    .get("/reservations/:order_id", ({ params }) => inventory.reservation(params.order_id), {
      params: OrderParams,
      response: { 200: Reservation },
    });

  return {
    name: "inventory-service",
    url: listen(app, config),
    database: config.database,
    faults,
    stop: [
      ["intake-ended", () => app.stop()],
      ["store-closed", () => store.close()],
    ],
  };
}

/** What the handlers share. */
interface Stock {
  faults: Faults;
  inventory: Inventory;
  log: Log;
  store: Store;
}

/** Idempotent by order id: the first decision is final. Another order under its id is refused. */
async function onReserve({ faults, inventory, log, store }: Stock, order: Static<typeof Reserve>) {
  const { order_id, kitchen, items } = order;
  const sku = repeatedSku(items);
  if (sku !== undefined) {
    throw new Problem("invalid_request", `${sku} stands twice in items`);
  }
  await faults.strike();
  const decision = await store.commit(() => inventory.reserve(order_id, kitchen, items));
  log.debug("stock_decided", { order_id, ...decision });
  switch (decision.kind) {
    case "reserved":
      return { order_id, state: "reserved" as const };
    case "reused":
      throw new Problem("order_id_reused", decision.detail, { orderId: order_id });
    case "rejected":
      throw new Problem(decision.reason, decision.detail, { orderId: order_id });
    default:
      return decision satisfies never;
  }
}

async function onRelease({ inventory, log, store }: Stock, { order_id }: Static<typeof Release>) {
  await store.commit(() => inventory.release(order_id));
  log.debug("stock_released", { order_id });
  return { order_id, state: "released" as const };
}

const Reserved = Type.Object({
  order_id: OrderId,
  state: Type.Literal("reserved"),
});
const Released = Type.Object({
  order_id: OrderId,
  state: Type.Literal("released"),
});

if (import.meta.main) await runService(startInventory, Config);
