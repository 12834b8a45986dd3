/**
 * Notification of the synchronous model.
 *
 * Hears: POST /send from the order service.
 * Says:  nothing by itself; the answer is all it says.
 * Keeps: one row for each confirmation that went out.
 *
 * Notice: when this service is down the order stays reserved; the order
 * service keeps the confirmation and sends it later, and sending is idempotent
 * by order id, so that "later" may mean "again".
 */
import { OrderId } from "@lab/contracts/ids";
import { NotificationPage, Send } from "@lab/contracts/order";
import { Problem } from "@lab/contracts/problem";
import { serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs, type Faults } from "@lab/runtime/faults";
import { createApp } from "@lab/runtime/http/app";
import { createLog, type Log } from "@lab/runtime/log";
import { PageQuery } from "@lab/runtime/http/requests";
import { listen, runService, type Service } from "@lab/runtime/service";
import { Notifications, NOTIFICATIONS_SCHEMA } from "@lab/store/notifications";
import { Store } from "@lab/store/store";
import { type Static, Type } from "@sinclair/typebox";

export const Config = Type.Object({
  ...serviceKnobs({ port: 8009, database: ".lab/data/sync-rest/notification.sqlite" }),
  ...faultKnobs("notification"),
});

export async function startNotification(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("notification-service", config.logLevel);
  const faults = createFaults("notification", config);
  const store = new Store(config.database, NOTIFICATIONS_SCHEMA);
  const notifications = new Notifications(store.db);
  const desk = { faults, log, notifications, store };

  const app = createApp("notification-service", {
    model: "sync-rest",
    faults,
    log,
    health: () => ({ needs: { database: store.healthy() }, problems: store.problems() }),
  })
    // 3. Tell the customer
    .post("/send", ({ body }) => onSend(desk, body), {
      body: Send,
      response: { 200: Sent },
      detail: { summary: "Tell the customer, once per order" },
    })
    .get("/notifications", ({ query }) => notifications.page(query), {
      query: PageQuery,
      response: { 200: NotificationPage },
    });

  return {
    name: "notification-service",
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
interface Desk {
  faults: Faults;
  log: Log;
  notifications: Notifications;
  store: Store;
}

async function onSend({ faults, log, notifications, store }: Desk, order: Static<typeof Send>) {
  await faults.strike();
  const { order_id } = order;
  const told = await store.commit(() => notifications.send(order));
  if (told.kind === "reused") {
    throw new Problem("order_id_reused", told.detail, { orderId: order_id });
  }
  if (told.kind === "sent") log.debug("customer_told", { order_id });
  return { order_id, state: "sent" as const };
}

const Sent = Type.Object({ order_id: OrderId, state: Type.Literal("sent") });

if (import.meta.main) await runService(startNotification, Config);
