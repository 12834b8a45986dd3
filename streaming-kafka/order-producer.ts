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
import {
  CONTENT_TYPE,
  decodeEvent,
  type InventoryFailed,
  type InventoryReserved,
  newEvent,
} from "@lab/contracts/events";
import { OrderId } from "@lab/contracts/ids";
import { Order, OrderAccepted, OrderPage, PlaceOrder } from "@lab/contracts/order";
import { serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs } from "@lab/runtime/faults";
import { Backoff } from "@lab/runtime/backoff";
import { createApp } from "@lab/runtime/http";
import { createLog, reasonOf } from "@lab/runtime/log";
import { OrderHeaders, OrderParams, OrderQuery } from "@lab/runtime/requests";
import { Repeater } from "@lab/runtime/repeater";
import { listen, runService, type Service } from "@lab/runtime/service";
import { childTrace } from "@lab/runtime/trace";
import { Bulk, BulkRequest, Bulks, BULKS_SCHEMA } from "@lab/store/bulks";
import { Orders, ORDERS_SCHEMA } from "@lab/store/orders";
import { Outbox, type OutboxRow, OUTBOX_SCHEMA } from "@lab/store/outbox";
import { Store } from "@lab/store/store";
import { bulkOrder } from "@lab/workflow/bulk";
import { type Static, Type } from "@sinclair/typebox";
import type { EachBatchPayload, Message } from "kafkajs";
import {
  connectPersistently,
  createConsumer,
  createKafka,
  endingOnBugs,
  watchGroup,
} from "./client.ts";
import { isBug } from "./errors.ts";
import { ONE_BY_ONE_SCHEMA, oneByOne } from "./one-by-one.ts";
import { createProducer, sendApart } from "./producer.ts";
import { KafkaBrokers, Namespace, SEND_BATCH, topics, watchTopics } from "./topics.ts";
import { Troubles } from "./troubles.ts";

export const Config = Type.Object({
  ...serviceKnobs({
    port: 8021,
    database: ".lab/data/streaming-kafka/order.sqlite",
  }),
  ...faultKnobs("order"),
  kafkaBrokers: KafkaBrokers,
  labNamespace: Namespace,
  /** Pause between two attempts to send what waits. */
  retryEveryMs: Type.Integer({ minimum: 1, default: 500 }),
});

export async function startOrder(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("order-producer", config.logLevel);
  const faults = createFaults("order", config);
  const store = new Store(config.database, [
    ...ORDERS_SCHEMA,
    ...OUTBOX_SCHEMA,
    ...BULKS_SCHEMA,
    ...ONE_BY_ONE_SCHEMA,
  ]);
  const orders = new Orders(store.db);
  const outbox = new Outbox(store.db);
  const bulks = new Bulks(store.db);

  const names = topics(config.labNamespace);
  const troubles = new Troubles(log);
  const kafka = createKafka(config.kafkaBrokers, "order-producer", log);
  const topology = watchTopics(kafka, names, log, troubles);
  const producer = createProducer(kafka);
  const consumer = createConsumer(kafka, names.statusGroup, troubles);
  const following = watchGroup(consumer, log, troubles);
  let connected = false;
  let stopping = false;

  const app = createApp("order-producer", {
    model: "streaming-kafka",
    faults,
    log,
    health: () => ({
      needs: { database: store.healthy(), broker: following() },
      owed: {
        outbox: outbox.owed(),
        unanswered: orders.unanswered(),
        standing_records: troubles.standing,
      },
      problems: [...store.problems(), ...troubles.problems],
    }),
  })
    .post(
      "/order",
      ({ body, headers, status, set }) =>
        onOrder(body, headers["idempotency-key"], headers["traceparent"]).then((order) => {
          set.headers["location"] = `/orders/${order.order_id}`;
          return status(202, order);
        }),
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
        const bulk = await store.commit(() => bulks.begin(body));
        faults.reached("bulk-begun-before-answer");
        set.headers["location"] = `/orders/bulk/${bulk.bulk_id}`;
        bulkPlacer.wake();
        return status(202, bulk);
      },
      {
        body: BulkRequest,
        response: { 202: Bulk },
        detail: {
          summary: "Place a stream of orders; a seed gives the same again",
        },
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

  // 1. Accept the order: order and event in one transaction, then the receipt.
  async function onOrder(
    body: Static<typeof PlaceOrder>,
    idempotencyKey: string | undefined,
    traceparent: string | undefined,
  ) {
    await faults.strike();
    const order = await store.commit(() => placeOrder(body, idempotencyKey, traceparent));
    faults.reached("stored-before-answer");
    log.debug("order_placed", { order_id: order.order_id });
    outboxSender.wake();
    return { order_id: order.order_id, status: order.status };
  }

  /** Call it inside `store.commit`. */
  function placeOrder(
    body: Static<typeof PlaceOrder>,
    idempotencyKey?: string,
    traceparent?: string,
  ): Order {
    const { kind, order } = orders.placeOnce(body, idempotencyKey);
    if (kind === "placed") {
      const { order_id, user_id, kitchen, items } = order;
      const data = { order_id, user_id, kitchen, items };
      const trace = childTrace(traceparent);
      outbox.add(kitchen, newEvent("OrderPlaced", "order-producer", data, trace));
      faults.reached("placed-before-commit");
    }
    return order;
  }

  /** Places what is due of the bulk streams; a restart goes on where it was. */
  const bulkPlacer = new Repeater(log, 20, async () => {
    // A batch of each in turn: a burst does not starve the others.
    for (let due = bulks.due(SEND_BATCH); due.length > 0; due = bulks.due(SEND_BATCH)) {
      for (const { bulk_id, plan, due: numbers } of due) {
        if (stopping) return;
        const bulk = await store.commit(() => {
          for (const n of numbers) placeOrder(bulkOrder(plan, n));
          faults.reached("bulk-placed-before-commit");
          return bulks.advance(bulk_id, numbers.length);
        });
        faults.reached("bulk-placed");
        outboxSender.wake();
        if (bulk.state === "finished") log.info("bulk_finished", { ...bulk });
      }
    }
  });

  const refused = new Backoff<number>(config.retryEveryMs);
  /** Sends what waits, oldest first, and marks it after the broker's word. */
  const outboxSender = new Repeater(log, config.retryEveryMs, async () => {
    while (!stopping) {
      // Without it nothing could be marked, and the same would be sent again and again.
      store.mustStand();
      const rows = connected ? outbox.unsent(SEND_BATCH, refused.waiting()) : [];
      if (rows.length === 0) return;
      const left = new Set<OutboxRow>();
      try {
        const apart = await sendApart(rows, (some) =>
          producer.send({
            topic: names.orderEvents,
            acks: -1,
            messages: some.map(({ key, body }) => ({
              key,
              value: body,
              headers: { "content-type": CONTENT_TYPE },
            })),
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
      // Killed here, the events go out again under the same ids.
      faults.reached("sent-before-mark");
      const sent = rows.filter((row) => !left.has(row));
      await store.commit(() => outbox.markSent(sent));
      for (const { seq } of sent) refused.done(seq);
      faults.reached("marked");
    }
  });

  // 2. is done elsewhere: follow what became of the orders.
  async function onOutcomes(payload: EachBatchPayload): Promise<void> {
    const { batch, resolveOffset, heartbeat } = payload;
    const events: (InventoryReserved | InventoryFailed)[] = [];
    for (const { value, offset } of batch.messages) {
      const decoded = decodeEvent(value ?? new Uint8Array(), [
        "InventoryReserved",
        "InventoryFailed",
      ]);
      if (decoded.kind === "event") events.push(decoded.event);
      else log.warn("message_refused", { offset, ...decoded });
    }
    await store.commit(() => {
      for (const event of events) {
        const { type, time, data } = event;
        const reason = type === "InventoryFailed" ? event.data.reason : undefined;
        // A step that is known changes nothing, so this needs no ledger.
        orders.advance(data.order_id, STATUS_AFTER[type], time, reason);
      }
      faults.reached("advanced-before-commit");
    });
    faults.reached("advanced-before-offset");
    const { topic, partition } = batch;
    resolveOffset(batch.lastOffset());
    const offset = String(Number(batch.lastOffset()) + 1);
    await consumer.commitOffsets([{ topic, partition, offset }]);
    faults.reached("offset-committed");
    await heartbeat();
  }

  const bury = (letter: Message) =>
    producer.send({ topic: names.deadLetters, acks: -1, messages: [letter] });

  const connecting = connectPersistently(
    troubles,
    () => stopping,
    async () => {
      await topology.declare();
      faults.reached("declared-before-consuming");
      await producer.connect();
      await consumer.connect();
      await consumer.subscribe({
        topic: names.inventoryEvents,
        fromBeginning: true,
      });
      await consumer.run({
        autoCommit: false,
        eachBatchAutoResolve: false,
        eachBatch: endingOnBugs(oneByOne({ bury, log, store }, onOutcomes)),
      });
      connected = true;
      outboxSender.wake();
    },
  );

  return {
    name: "order-producer",
    url: listen(app, config),
    database: config.database,
    faults,
    async stop() {
      stopping = true;
      faults.end();
      await app.stop();
      faults.reached("intake-ended");
      await bulkPlacer.stop();
      await outboxSender.stop();
      faults.reached("outbox-ended");
      await connecting;
      await consumer.disconnect();
      faults.reached("group-left");
      await producer.disconnect();
      await topology.stop();
      store.close();
    },
  };
}

const STATUS_AFTER = { InventoryReserved: "reserved", InventoryFailed: "failed" } as const;

if (import.meta.main) await runService(startOrder, Config);
