/**
 * Orders of the asynchronous model: the customer gets a receipt at once.
 *
 * Hears: POST /order from the customer; InventoryReserved, InventoryFailed,
 *        ConfirmationSent.
 * Says:  OrderPlaced.
 * Keeps: orders, their steps, and the outbox of events to be published.
 *
 * Notice: Inventory down, or RabbitMQ down, is not the customer's problem here:
 * the order is stored and answered 202, and goes out when they are back.
 */
import { type EventOf, newEvent } from "@lab/contracts/events";
import { Order, OrderAccepted, OrderPage, PlaceOrder } from "@lab/contracts/order";
import { serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs, type Faults } from "@lab/runtime/faults";
import { createApp } from "@lab/runtime/http/app";
import { createLog, type Log } from "@lab/runtime/log";
import { retryTransient } from "@lab/runtime/transient";
import { OrderHeaders, OrderParams, OrderQuery } from "@lab/runtime/http/requests";
import { Repeater, type Rest } from "@lab/runtime/work/repeater";
import { listen, runService, type Service } from "@lab/runtime/service";
import { Attempts, ATTEMPTS_SCHEMA } from "@lab/store/attempts";
import { Orders, ORDERS_SCHEMA } from "@lab/store/orders";
import { Outbox, OUTBOX_SCHEMA } from "@lab/store/outbox";
import { Store } from "@lab/store/store";
import { type Static, Type } from "@sinclair/typebox";
import type { ConfirmChannel, ConsumeMessage } from "amqplib";
import { acknowledge, AmqpUrl, type Delivery, giveUp, readEvent, requeueLater } from "./client.ts";
import { connectBroker } from "./connection.ts";
import { consumeBatches, type Consumer } from "./consumer.ts";
import { isBug, Pace, type Publisher } from "./publisher.ts";
import { topology } from "./topology.ts";

export const Config = Type.Object({
  ...serviceKnobs({ port: 8011, database: ".lab/data/async-rabbitmq/order.sqlite" }),
  ...faultKnobs("order"),
  amqpUrl: AmqpUrl,
  labNamespace: Type.String({ default: "" }),
  /** Pause between two attempts to publish the outbox. */
  retryEveryMs: Type.Integer({ minimum: 1, default: 500 }),
});

export async function startOrder(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("order-service", config.logLevel);
  const faults = createFaults("order", config);
  const schema = [...ORDERS_SCHEMA, ...OUTBOX_SCHEMA, ...ATTEMPTS_SCHEMA];
  const store = new Store(config.database, schema);
  const orders = new Orders(store.db);
  const outbox = new Outbox(store.db);
  const attempts = new Attempts(store);
  const names = topology(config.labNamespace);
  const pace = new Pace(config.retryEveryMs);
  const wakeOutbox = () => outboxSender.wake();
  const shop: Shop = { faults, log, orders, outbox, pace, publisher: undefined, store, wakeOutbox };

  const app = createApp("order-service", {
    model: "async-rabbitmq",
    faults,
    log,
    health: () => ({
      needs: { database: store.healthy(), broker: broker.connected },
      owed: {
        outbox: outbox.owed(),
        unconfirmed: broker.unconfirmed,
        unanswered: orders.unanswered(),
        untold: orders.owed("reserved", new Set()),
      },
      waits_for: broker.waitsFor,
      problems: [...store.problems(), ...broker.problems],
    }),
  })
    .post(
      "/order",
      async ({ body, headers, status, set }) => {
        const order = await onOrder(shop, body, headers);
        set.headers["location"] = `/orders/${order.order_id}`;
        return status(202, order);
      },
      {
        body: PlaceOrder,
        headers: OrderHeaders,
        response: { 202: OrderAccepted },
        detail: { summary: "Order, and get a receipt" },
      },
    )
    .get("/orders", ({ query }) => orders.page(query), {
      query: OrderQuery,
      response: { 200: OrderPage },
    })
    .get("/orders/:order_id", ({ params }) => orders.get(params.order_id), {
      params: OrderParams,
      response: { 200: Order },
    });

  const sending = (stopped: () => boolean) => sendOutbox(shop, stopped);
  const outboxSender = new Repeater(log, config.retryEveryMs, sending);

  let consumer: Consumer | undefined;
  const broker = await connectBroker({
    url: config.amqpUrl,
    names,
    queue: names.orderQueue,
    log,
    async setup(channel, publisher) {
      shop.publisher = publisher;
      // While RabbitMQ is down nothing is published: otherwise each order would try the whole
      // outbox.
      channel.on("close", () => (shop.publisher = undefined));
      consumer = await consumeBatches(
        { attempts, channel, log, publisher, queue: names.orderQueue },
        (batch) => onOutcomes(shop, channel, batch),
      );
      outboxSender.wake();
    },
  });

  return {
    name: "order-service",
    url: listen(app, config),
    database: config.database,
    faults,
    stop: [
      ["intake-ended", () => app.stop()],
      ["consumer-stopped", () => consumer?.stop()],
      ["outbox-ended", () => outboxSender.stop()],
      ["broker-left", () => broker.close()],
      ["store-closed", () => store.close()],
    ],
  };
}

/** What the handlers share. */
interface Shop {
  faults: Faults;
  log: Log;
  orders: Orders;
  outbox: Outbox;
  pace: Pace;
  /** Set while there is a connection. */
  publisher: Publisher | undefined;
  store: Store;
  wakeOutbox(): void;
}

/** 1. Accept the order: order and event in one transaction, then the receipt. */
async function onOrder(
  { faults, log, orders, outbox, store, wakeOutbox }: Shop,
  body: PlaceOrder,
  { traceparent, "idempotency-key": key }: Static<typeof OrderHeaders>,
) {
  await faults.strike();
  const { order } = await store.commit(() => {
    const accepted = orders.placeOnce(body, key);
    if (accepted.kind === "placed") {
      const { order_id, user_id, kitchen, items } = accepted.order;
      outbox.add(
        kitchen,
        newEvent(
          "OrderPlaced",
          "order-service",
          { order_id, user_id, kitchen, items },
          traceparent,
        ),
      );
    }
    return accepted;
  });
  log.debug("order_placed", { order_id: order.order_id });
  wakeOutbox();
  return { order_id: order.order_id, status: order.status };
}

/** Publishes the outbox, oldest first, and marks each event once the broker has confirmed it. */
async function sendOutbox(shop: Shop, stopped: () => boolean): Promise<Rest> {
  const { outbox, pace, store } = shop;
  while (!stopped()) {
    // Otherwise nothing could be marked, and the same events would be published again and again.
    store.assertFilesIntact();
    const { publisher } = shop;
    // Every order wakes this: without a broker the outbox need not be read.
    if (!publisher) return;
    const rows = pace.next(outbox);
    if (rows.length === 0) return pace.isEmpty ? "idle" : undefined;
    const publishing = rows.map((row) => publisher.publish(row.body));
    const results = await Promise.allSettled(publishing);
    const sent = rows.filter((_, n) => results[n]?.status === "fulfilled");
    // Killed here, the events are published again under the same ids.
    await store.commit(() => outbox.markSent(sent));
    const refused = rows.filter((row) => !sent.includes(row));
    pace.note(sent, refused, publisher !== shop.publisher);
    // A refused event doesn't stop the others, unless nothing was accepted.
    if (sent.length === 0) return;
  }
}

/** 2. and 3. are done by other services: record the outcomes of the orders. */
async function onOutcomes(
  { log, orders, store }: Shop,
  channel: ConfirmChannel,
  batch: ConsumeMessage[],
) {
  const work: Delivery<Outcome>[] = [];
  try {
    for (const message of batch) {
      const decoded = readEvent(channel, message, OUTCOMES, log);
      if (decoded.kind === "event") work.push({ message, event: decoded.event });
      else {
        log.warn("message_refused", decoded);
        await giveUp(channel, message);
      }
    }
    if (work.length === 0) return;
    await retryTransient(log, () =>
      store.commit(() => {
        for (const { event } of work) {
          const { type, time, data } = event;
          const reason = type === "InventoryFailed" ? event.data.reason : undefined;
          // A repeated step changes nothing, so this needs no ledger.
          orders.advance(data.order_id, STATUS_AFTER[type], time, reason);
        }
      }),
    );
    acknowledge(channel, work);
  } catch (error) {
    // The process ends, and its messages are redelivered.
    if (isBug(error)) throw error;
    for (const delivery of work) requeueLater(channel, delivery, error, log);
  }
}

const OUTCOMES = ["InventoryReserved", "InventoryFailed", "ConfirmationSent"] as const;
type Outcome = EventOf<(typeof OUTCOMES)[number]>;

const STATUS_AFTER = {
  InventoryReserved: "reserved",
  InventoryFailed: "failed",
  ConfirmationSent: "confirmed",
} as const;

if (import.meta.main) await runService(startOrder, Config);
