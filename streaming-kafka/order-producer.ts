/**
 * Orders of the streaming model: the customer gets a receipt at once, and the
 * order becomes a record in a log that anybody may read, now or next year.
 *
 * Hears: POST /order, POST /orders/bulk; InventoryReserved, InventoryFailed,
 *        from `inventory-events`.
 * Says:  OrderPlaced, to `order-events`, keyed by kitchen; records that kill it,
 *        to `order-events.dead`.
 * Keeps: orders, their steps, bulk streams, and the outbox.
 *
 * Notice: Inventory down, or Kafka down, is not the customer's problem here:
 * the order is stored and answered 202, and goes out when they are back.
 */
import type { EventOf } from "@lab/contracts/events";
import { OrderId } from "@lab/contracts/ids";
import { Order, OrderAccepted, OrderPage, PlaceOrder } from "@lab/contracts/order";
import { serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs } from "@lab/runtime/faults";
import { Backoff } from "@lab/runtime/work/backoff";
import { createApp } from "@lab/runtime/http/app";
import { createLog, reasonOf } from "@lab/runtime/log";
import { OrderHeaders, OrderParams, OrderQuery } from "@lab/runtime/http/requests";
import { Repeater, type Rest } from "@lab/runtime/work/repeater";
import { listen, runService, type Service } from "@lab/runtime/service";
import { Bulk, BulkRequest } from "@lab/contracts/bulk";
import { Bulks, BULKS_SCHEMA } from "@lab/store/bulks";
import { Orders, ORDERS_SCHEMA } from "@lab/store/orders";
import { Outbox, type OutboxRow, OUTBOX_SCHEMA } from "@lab/store/outbox";
import { Store } from "@lab/store/store";
import { type Static, Type } from "@sinclair/typebox";
import type { EachBatchPayload } from "kafkajs";
import { isBug } from "./kafka/errors.ts";
import { ONE_BY_ONE_SCHEMA } from "./kafka/one-by-one.ts";
import { placeBulks, placeOrder, type Shop } from "./placing.ts";
import { sendApart } from "./kafka/producer.ts";
import { recordOf } from "./kafka/spans.ts";
import { Stream } from "./kafka/stream.ts";
import { KafkaBrokers, Namespace, SEND_BATCH, topics } from "./topics.ts";

export const Config = Type.Object({
  ...serviceKnobs({ port: 8021, database: ".lab/data/streaming-kafka/order.sqlite" }),
  ...faultKnobs("order"),
  kafkaBrokers: KafkaBrokers,
  labNamespace: Namespace,
  /** Pause between two attempts to send the outbox. */
  retryEveryMs: Type.Integer({ minimum: 1, default: 500 }),
});

export async function startOrder(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("order-producer", config.logLevel);
  const faults = createFaults("order", config);
  const schema = [...ORDERS_SCHEMA, ...OUTBOX_SCHEMA, ...BULKS_SCHEMA, ...ONE_BY_ONE_SCHEMA];
  const store = new Store(config.database, schema);
  const orders = new Orders(store.db);
  const outbox = new Outbox(store.db);
  const bulks = new Bulks(store.db);
  const names = topics(config.labNamespace);
  const stream = new Stream(config, "order-producer", names.statusGroup, { log, names, store });
  const refused = new Backoff<number>(config.retryEveryMs);
  const shop: Shop = {
    bulks,
    faults,
    log,
    names,
    orders,
    outbox,
    refused,
    store,
    stream,
    wake: () => outboxSender.wake(),
    wakeBulks: () => bulkPlacer.wake(),
  };

  const app = createApp("order-producer", {
    model: "streaming-kafka",
    faults,
    log,
    health: () => ({
      needs: { database: store.healthy(), broker: stream.isMember() },
      owed: {
        outbox: outbox.owed(),
        unanswered: orders.unanswered(),
        standing_records: stream.troubles.stalled,
      },
      waits_for: stream.waitsFor,
      problems: [...store.problems(), ...stream.troubles.problems],
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
    .post(
      "/orders/bulk",
      async ({ body, status, set }) => {
        const bulk = await onBulk(shop, body);
        set.headers["location"] = `/orders/bulk/${bulk.bulk_id}`;
        return status(202, bulk);
      },
      {
        body: BulkRequest,
        response: { 202: Bulk },
        detail: { summary: "Place a stream of orders; a seed gives the same again" },
      },
    )
    .get("/orders/bulk/:bulk_id", ({ params }) => bulks.get(params.bulk_id), {
      params: Type.Object({ bulk_id: OrderId }),
      response: { 200: Bulk },
    })
    .get("/orders", ({ query }) => orders.page(query), {
      query: OrderQuery,
      response: { 200: OrderPage },
    })
    .get("/orders/:order_id", ({ params }) => orders.get(params.order_id), {
      params: OrderParams,
      response: { 200: Order },
    });

  const repeat = (work: typeof sendOutbox) =>
    new Repeater(log, config.retryEveryMs, (stopped) => work(shop, stopped));
  const bulkPlacer = repeat(placeBulks);
  const outboxSender = repeat(sendOutbox);
  stream.start([names.inventoryEvents], async () => {
    await stream.run((payload) => onOutcomes(shop, payload));
    shop.wake();
  });

  return {
    name: "order-producer",
    url: listen(app, config),
    database: config.database,
    faults,
    stop: [
      ["intake-ended", () => app.stop()],
      ["bulks-ended", () => bulkPlacer.stop()],
      ["outbox-ended", () => outboxSender.stop()],
      ...stream.stop,
      ["store-closed", () => store.close()],
    ],
  };
}

/** 1. Accept the order: order and event in one transaction, then the receipt. */
async function onOrder(
  shop: Shop,
  body: PlaceOrder,
  { traceparent, "idempotency-key": key }: Static<typeof OrderHeaders>,
) {
  const { faults, log, store } = shop;
  await faults.strike();
  const order = await store.commit(() => placeOrder(shop, body, key, traceparent));
  log.debug("order_placed", { order_id: order.order_id });
  shop.wake();
  return { order_id: order.order_id, status: order.status };
}

/** The same for a stream of orders, which are placed one after the other. */
async function onBulk({ bulks, store, wakeBulks }: Shop, body: BulkRequest) {
  const bulk = await store.commit(() => bulks.begin(body));
  wakeBulks();
  return bulk;
}

/** Sends the outbox, oldest first, and marks each event once the broker has acknowledged it. */
async function sendOutbox(shop: Shop, stopped: () => boolean): Promise<Rest> {
  const { log, names, outbox, refused, store, stream } = shop;
  const { producer, troubles } = stream;
  while (!stopped()) {
    // Otherwise nothing could be marked, and the same events would be sent again and again.
    store.assertFilesIntact();
    if (!stream.isReading) return;
    const rows = outbox.unsent(SEND_BATCH, refused.waiting());
    if (rows.length === 0) return refused.isEmpty ? "idle" : undefined;
    const left = new Set<OutboxRow>();
    try {
      const apart = await sendApart(rows, (some) =>
        producer.send({
          topic: names.orderEvents,
          acks: -1,
          messages: some.map(({ key, body }) => recordOf(key, body)),
        }),
      );
      for (const { record, error } of apart) {
        left.add(record);
        refused.failed(record.seq);
        log.warn("call_failed", { event_id: record.event_id, reason: reasonOf(error) });
      }
    } catch (error) {
      if (isBug(error)) throw error;
      troubles.noteError("outbox", error);
      return;
    }
    troubles.clear("outbox");
    // Killed here, the events are sent again under the same ids.
    const sent = rows.filter((row) => !left.has(row));
    await store.commit(() => outbox.markSent(sent));
    for (const { seq } of sent) refused.done(seq);
  }
}

/** 2. is done by another service: record the outcomes of the orders. */
async function onOutcomes(
  { log, orders, store, stream }: Shop,
  payload: EachBatchPayload,
): Promise<void> {
  const { batch, resolveOffset, heartbeat } = payload;
  const events: Outcome[] = [];
  for (const record of batch.messages) {
    const decoded = stream.read(batch, record, OUTCOMES);
    if (decoded.kind === "event") events.push(decoded.event);
    else log.warn("message_refused", { offset: record.offset, ...decoded });
  }
  await store.commit(() => {
    for (const event of events) {
      const { type, time, data } = event;
      const reason = type === "InventoryFailed" ? event.data.reason : undefined;
      // A repeated step changes nothing, so this needs no ledger.
      orders.advance(data.order_id, STATUS_AFTER[type], time, reason);
    }
  });
  const { topic, partition } = batch;
  resolveOffset(batch.lastOffset());
  const offset = String(Number(batch.lastOffset()) + 1);
  await stream.consumer.commitOffsets([{ topic, partition, offset }]);
  await heartbeat();
}

const OUTCOMES = ["InventoryReserved", "InventoryFailed"] as const;
type Outcome = EventOf<(typeof OUTCOMES)[number]>;

const STATUS_AFTER = { InventoryReserved: "reserved", InventoryFailed: "failed" } as const;

if (import.meta.main) await runService(startOrder, Config);
