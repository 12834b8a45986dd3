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
import {
  type ConfirmationSent,
  decodeEvent,
  type InventoryFailed,
  type InventoryReserved,
  newEvent,
} from "@lab/contracts/events";
import { Order, OrderAccepted, OrderPage, PlaceOrder } from "@lab/contracts/order";
import { serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs } from "@lab/runtime/faults";
import { createApp } from "@lab/runtime/http";
import { createLog } from "@lab/runtime/log";
import { patiently } from "@lab/runtime/patience";
import { OrderHeaders, OrderParams, OrderQuery } from "@lab/runtime/requests";
import { Repeater } from "@lab/runtime/repeater";
import { listen, runService, type Service } from "@lab/runtime/service";
import { childTrace } from "@lab/runtime/trace";
import { Attempts, ATTEMPTS_SCHEMA } from "@lab/store/attempts";
import { Orders, ORDERS_SCHEMA } from "@lab/store/orders";
import { Outbox, OUTBOX_SCHEMA } from "@lab/store/outbox";
import { Store } from "@lab/store/store";
import { type Static, Type } from "@sinclair/typebox";
import type { ConfirmChannel, ConsumeMessage } from "amqplib";
import {
  acknowledge,
  AmqpUrl,
  consumeBatches,
  type Consumer,
  type Delivery,
  giveUp,
  PREFETCH,
  requeueLater,
} from "./client.ts";
import { connectBroker } from "./connection.ts";
import { oneByOne } from "./one-by-one.ts";
import { isBug, Pace, type Publisher } from "./publisher.ts";
import { topology } from "./topology.ts";

export const Config = Type.Object({
  ...serviceKnobs({
    port: 8011,
    database: ".lab/data/async-rabbitmq/order.sqlite",
  }),
  ...faultKnobs("order"),
  amqpUrl: AmqpUrl,
  labNamespace: Type.String({ default: "" }),
  /** Pause between two attempts to publish what waits. */
  retryEveryMs: Type.Integer({ minimum: 1, default: 500 }),
});

export async function startOrder(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("order-service", config.logLevel);
  const faults = createFaults("order", config);
  const store = new Store(config.database, [
    ...ORDERS_SCHEMA,
    ...OUTBOX_SCHEMA,
    ...ATTEMPTS_SCHEMA,
  ]);
  const orders = new Orders(store.db);
  const outbox = new Outbox(store.db);
  const attempts = new Attempts(store);
  const names = topology(config.labNamespace);
  let publisher: Publisher | undefined;
  let stopping = false;

  const app = createApp("order-service", {
    model: "async-rabbitmq",
    faults,
    log,
    health: () => ({
      needs: { database: store.healthy(), broker: broker.connected() },
      owed: {
        outbox: outbox.owed(),
        unconfirmed: broker.unconfirmed(),
        unanswered: orders.unanswered(),
        untold: orders.owed("reserved", new Set()),
      },
      waits_for: broker.waitsFor(),
      problems: [...store.problems(), ...broker.problems()],
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
    const { order } = await store.commit(() => {
      const accepted = orders.placeOnce(body, idempotencyKey);
      if (accepted.kind === "placed") {
        const { order_id, user_id, kitchen, items } = accepted.order;
        outbox.add(
          kitchen,
          newEvent(
            "OrderPlaced",
            "order-service",
            { order_id, user_id, kitchen, items },
            childTrace(traceparent),
          ),
        );
      }
      faults.reached("placed-before-commit");
      return accepted;
    });
    faults.reached("stored-before-answer");
    log.debug("order_placed", { order_id: order.order_id });
    outboxSender.wake();
    return { order_id: order.order_id, status: order.status };
  }

  const pace = new Pace(config.retryEveryMs);
  /** Publishes what waits, oldest first, and marks it after the broker's word. */
  const outboxSender = new Repeater(log, config.retryEveryMs, async () => {
    while (!stopping) {
      // Without it nothing could be marked, and the same would be sent again and again.
      store.mustStand();
      const through = publisher;
      // Every order wakes this: without a broker there is nothing to read for.
      if (!through) return;
      const rows = pace.next(outbox);
      if (rows.length === 0) return;
      const said = rows.map((row) => through.publish(row.body));
      await faults.sent("published-before-confirm");
      const words = await Promise.allSettled(said);
      faults.reached("confirmed-before-mark");
      const sent = rows.filter((_, n) => words[n]?.status === "fulfilled");
      // Killed here, the events go out again under the same ids.
      await store.commit(() => outbox.markSent(sent));
      faults.reached("marked");
      pace.note(
        sent,
        rows.filter((row) => !sent.includes(row)),
        through !== publisher,
      );
      // The others go on, unless there is nobody to take them.
      if (sent.length === 0) return;
    }
  });

  // 2. and 3. are done elsewhere: follow what became of the orders.
  async function onOutcomes(channel: ConfirmChannel, batch: ConsumeMessage[]) {
    const work: Delivery<InventoryReserved | InventoryFailed | ConfirmationSent>[] = [];
    try {
      for (const message of batch) {
        const decoded = decodeEvent(message.content, [
          "InventoryReserved",
          "InventoryFailed",
          "ConfirmationSent",
        ]);
        if (decoded.kind === "event") work.push({ message, event: decoded.event });
        else {
          log.warn("message_refused", decoded);
          faults.reached("refused-before-reject");
          await giveUp(channel, message);
          await faults.sent("rejected");
        }
      }
      if (work.length === 0) return;
      await patiently(log, () =>
        store.commit(() => {
          for (const { event } of work) {
            const { type, time, data } = event;
            const reason = type === "InventoryFailed" ? event.data.reason : undefined;
            // A step that is known changes nothing, so this needs no ledger.
            orders.advance(data.order_id, STATUS_AFTER[type], time, reason);
          }
          faults.reached("advanced-before-commit");
        }),
      );
      faults.reached("advanced-before-ack");
      acknowledge(channel, work);
      await faults.sent("acked");
    } catch (error) {
      // The process ends, and what it had is delivered again.
      if (isBug(error)) throw error;
      for (const delivery of work) requeueLater(channel, delivery, error, log);
    }
  }

  let consumer: Consumer | undefined;
  const broker = await connectBroker({
    url: config.amqpUrl,
    names,
    log,
    async setup(channel, own) {
      publisher = own;
      // While RabbitMQ is down nothing is tried: each order would try all that waits.
      channel.on("close", () => (publisher = undefined));
      faults.reached("declared-before-consuming");
      consumer = await consumeBatches(
        channel,
        own,
        names.orderQueue,
        () => PREFETCH,
        oneByOne({ attempts, log, queue: names.orderQueue }, channel, own, (batch) =>
          onOutcomes(channel, batch),
        ),
      );
      outboxSender.wake();
    },
  });

  return {
    name: "order-service",
    url: listen(app, config),
    database: config.database,
    faults,
    async stop() {
      stopping = true;
      faults.end();
      await app.stop();
      faults.reached("intake-ended");
      await consumer?.stop();
      faults.reached("consumer-stopped");
      await outboxSender.stop();
      faults.reached("outbox-ended");
      await broker.close();
      faults.reached("broker-left");
      store.close();
    },
  };
}

const STATUS_AFTER = {
  InventoryReserved: "reserved",
  InventoryFailed: "failed",
  ConfirmationSent: "confirmed",
} as const;

if (import.meta.main) await runService(startOrder, Config);
