/**
 * Notification of the asynchronous model.
 *
 * Hears: InventoryReserved.
 * Says:  ConfirmationSent.
 * Keeps: one row for each confirmation that went out, and the ledger.
 *
 * Notice: it knows neither the order service nor Inventory, only an event. Down
 * for a while it delays confirmations; no other service is affected.
 */
import { causedEvent, encodeEvent, type InventoryReserved } from "@lab/contracts/events";
import { NotificationPage } from "@lab/contracts/order";
import { serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs, type Faults } from "@lab/runtime/faults";
import { createApp } from "@lab/runtime/http/app";
import { createLog, type Log } from "@lab/runtime/log";
import { retryTransient } from "@lab/runtime/transient";
import { PageQuery } from "@lab/runtime/http/requests";
import { listen, runService, type Service } from "@lab/runtime/service";
import { Attempts, ATTEMPTS_SCHEMA } from "@lab/store/attempts";
import { Ledger, LEDGER_SCHEMA, type Processed } from "@lab/store/ledger";
import { Notifications, NOTIFICATIONS_SCHEMA } from "@lab/store/notifications";
import { Store } from "@lab/store/store";
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
  ...serviceKnobs({ port: 8019, database: ".lab/data/async-rabbitmq/notification.sqlite" }),
  ...faultKnobs("notification"),
  amqpUrl: AmqpUrl,
  labNamespace: Type.String({ default: "" }),
});

export async function startNotification(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("notification-service", config.logLevel);
  const faults = createFaults("notification", config);
  const schema = [...NOTIFICATIONS_SCHEMA, ...LEDGER_SCHEMA, ...ATTEMPTS_SCHEMA];
  const store = new Store(config.database, schema);
  const notifications = new Notifications(store.db);
  const ledger = new Ledger(store.db, "notification-service", log);
  const attempts = new Attempts(store);
  const names = topology(config.labNamespace);
  const queue = names.notificationQueue;
  const desk = { faults, ledger, log, notifications, store };

  const app = createApp("notification-service", {
    model: "async-rabbitmq",
    faults,
    log,
    health: () => ({
      needs: { database: store.healthy(), broker: broker.connected },
      owed: { unconfirmed: broker.unconfirmed },
      waits_for: broker.waitsFor,
      problems: [...store.problems(), ...broker.problems],
    }),
  }).get("/notifications", ({ query }) => notifications.page(query), {
    query: PageQuery,
    response: { 200: NotificationPage },
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
        (batch) => onInventoryReserved(desk, channel, publisher, batch),
      );
    },
  });

  return {
    name: "notification-service",
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
interface Desk {
  faults: Faults;
  ledger: Ledger;
  log: Log;
  notifications: Notifications;
  store: Store;
}

/** 3. Tell the customer: one transaction for the batch, then the events, then the acks. */
async function onInventoryReserved(
  desk: Desk,
  channel: ConfirmChannel,
  publisher: Publisher,
  batch: ConsumeMessage[],
) {
  const { faults, ledger, log, store } = desk;
  const work: Delivery<InventoryReserved>[] = [];
  try {
    for (const message of batch) {
      const decoded = readEvent(channel, message, ["InventoryReserved"], log);
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
    const sent = await retryTransient(log, () =>
      store.commit(() => work.map(({ event }) => ledger.once(event, () => tell(desk, event)))),
    );
    const publishing = sent.map((confirmation, n) =>
      confirmation.kind === "done"
        ? publisher.publishUntilStored(confirmation.outcome, work[n]!.event)
        : refuseReusedId(channel, work[n]!.message, confirmation.detail, log),
    );
    await Promise.all(publishing);
    acknowledge(channel, work);
  } catch (error) {
    // The process ends, and its messages are redelivered.
    if (isBug(error)) throw error;
    for (const delivery of work) requeueLater(channel, delivery, error, log);
  }
}

/** Sends the confirmation, and returns its event as it is stored and published. */
function tell({ log, notifications }: Desk, event: InventoryReserved): Processed {
  const { order_id, user_id, kitchen } = event.data;
  const order = { order_id, user_id, kitchen };
  const told = notifications.send(order);
  if (told.kind === "reused") return told;
  if (told.kind === "sent") log.debug("customer_told", { order_id });
  const confirmation = causedEvent(event, "notification-service", "ConfirmationSent", order);
  return { kind: "done", outcome: encodeEvent(confirmation) };
}

if (import.meta.main) await runService(startNotification, Config);
