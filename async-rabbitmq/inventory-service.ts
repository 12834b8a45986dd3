/**
 * Inventory of the asynchronous model.
 *
 * Hears: OrderPlaced.
 * Says:  InventoryReserved or InventoryFailed.
 * Keeps: stock, reservations, and the ledger of processed messages with the
 *        answer that each was given.
 *
 * Notice: dead for a minute, this service loses nothing: orders wait in its
 * queue. Killed between commit and answer, it is delivered the order again,
 * finds it in the ledger, and publishes the stored answer under the same id.
 */
import { encodeEvent, type OrderPlaced } from "@lab/contracts/events";
import { Reservation, StockRow } from "@lab/contracts/order";
import { serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs, type Faults } from "@lab/runtime/faults";
import { createApp } from "@lab/runtime/http/app";
import { createLog, type Log } from "@lab/runtime/log";
import { retryTransient } from "@lab/runtime/transient";
import { OrderParams } from "@lab/runtime/http/requests";
import { listen, runService, type Service } from "@lab/runtime/service";
import { Attempts, ATTEMPTS_SCHEMA } from "@lab/store/attempts";
import { Inventory, INVENTORY_SCHEMA } from "@lab/store/inventory";
import { Ledger, LEDGER_SCHEMA, type Processed } from "@lab/store/ledger";
import { Store } from "@lab/store/store";
import { OPENING_STOCK } from "@lab/workflow/menu";
import { answerTo } from "@lab/workflow/reservation";
import { type Static, Type } from "@sinclair/typebox";
import type { ConfirmChannel, ConsumeMessage } from "amqplib";
import {
  acknowledge,
  AmqpUrl,
  type Delivery,
  giveUp,
  readEvent,
  refuseReusedId,
  requeueLater,
} from "./client.ts";
import { connectBroker } from "./connection.ts";
import { consumeBatches, type Consumer, PREFETCH } from "./consumer.ts";
import { isBug, type Publisher } from "./publisher.ts";
import { topology } from "./topology.ts";

export const Config = Type.Object({
  ...serviceKnobs({ port: 8012, database: ".lab/data/async-rabbitmq/inventory.sqlite" }),
  ...faultKnobs("inventory"),
  amqpUrl: AmqpUrl,
  labNamespace: Type.String({ default: "" }),
  /** Units of everything in every kitchen, when the database is new. */
  openingStock: Type.Integer({ minimum: 0, default: OPENING_STOCK }),
});

export async function startInventory(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("inventory-service", config.logLevel);
  const faults = createFaults("inventory", config);
  const schema = [...INVENTORY_SCHEMA, ...LEDGER_SCHEMA, ...ATTEMPTS_SCHEMA];
  const store = new Store(config.database, schema);
  const inventory = new Inventory(store.db);
  const ledger = new Ledger(store.db, "inventory-service", log);
  await store.commit(() => inventory.open(config.openingStock));
  const attempts = new Attempts(store);
  const names = topology(config.labNamespace);
  const queue = names.inventoryQueue;
  const stock = { faults, inventory, ledger, log, store };

  const app = createApp("inventory-service", {
    model: "async-rabbitmq",
    faults,
    log,
    health: () => ({
      needs: { database: store.healthy(), broker: broker.connected },
      owed: { unconfirmed: broker.unconfirmed },
      waits_for: broker.waitsFor,
      problems: [...store.problems(), ...broker.problems],
    }),
  })
    .get("/stock", ({ query }) => inventory.stock(query.kitchen), {
      query: Type.Object({ kitchen: Type.Optional(Type.String()) }),
      response: { 200: Type.Array(StockRow) },
    })
    .get("/reservations/:order_id", ({ params }) => inventory.reservation(params.order_id), {
      params: OrderParams,
      response: { 200: Reservation },
    });

  let consumer: Consumer | undefined;
  const broker = await connectBroker({
    url: config.amqpUrl,
    names,
    queue,
    log,
    async setup(channel, publisher) {
      const limit = () => faults.batchLimit(PREFETCH);
      consumer = await consumeBatches(
        { attempts, channel, limit, log, publisher, queue },
        (batch) => onOrderPlaced(stock, channel, publisher, batch),
      );
    },
  });

  return {
    name: "inventory-service",
    url: listen(app, config),
    database: config.database,
    faults,
    stop: [
      // The consumer is the intake here: it is stopped first.
      ["consumer-stopped", () => consumer?.stop()],
      ["broker-left", () => broker.close()],
      ["http-stopped", () => app.stop()],
      ["store-closed", () => store.close()],
    ],
  };
}

/** What the handlers share. */
interface Stock {
  faults: Faults;
  inventory: Inventory;
  ledger: Ledger;
  log: Log;
  store: Store;
}

/** 2. Reserve stock: one transaction for the batch, then the answers, then the acks. */
async function onOrderPlaced(
  stock: Stock,
  channel: ConfirmChannel,
  publisher: Publisher,
  batch: ConsumeMessage[],
) {
  const { faults, ledger, log, store } = stock;
  const work: Delivery<OrderPlaced>[] = [];
  try {
    for (const message of batch) {
      const decoded = readEvent(channel, message, ["OrderPlaced"], log);
      if (decoded.kind === "invalid") {
        // It can never be valid: to the dead queue at once.
        log.warn("message_refused", decoded);
        await giveUp(channel, message);
        continue;
      }
      try {
        await faults.strike();
        work.push({ message, event: decoded.event });
      } catch (error) {
        requeueLater(channel, { message, event: decoded.event }, error, log);
      }
    }
    if (work.length === 0) return;
    const answers = await retryTransient(log, () =>
      store.commit(() => work.map(({ event }) => ledger.once(event, () => reserve(stock, event)))),
    );
    const publishing = answers.map((answer, n) =>
      answer.kind === "done"
        ? publisher.publishUntilStored(answer.outcome, work[n]!.event)
        : refuseReusedId(channel, work[n]!.message, answer.detail, log),
    );
    await Promise.all(publishing);
    acknowledge(channel, work);
  } catch (error) {
    // The process ends, and its messages are redelivered.
    if (isBug(error)) throw error;
    for (const delivery of work) requeueLater(channel, delivery, error, log);
  }
}

/** Decides, and returns the answer as it is stored and published. */
function reserve({ inventory, log }: Stock, event: OrderPlaced): Processed {
  const { order_id, user_id, kitchen, items } = event.data;
  const decision = inventory.reserve(order_id, kitchen, items, user_id);
  if (decision.kind === "reused") return decision;
  const answer = answerTo(event, "inventory-service", decision);
  log.debug("stock_decided", { order_id: answer.subject, says: answer.type });
  return { kind: "done", outcome: encodeEvent(answer) };
}

if (import.meta.main) await runService(startInventory, Config);
