/**
 * Orders of the synchronous model: the customer waits for all three hops.
 *
 * Hears: POST /order from the customer.
 * Says:  POST /reserve and /release to Inventory, POST /send to Notification.
 * Keeps: orders, their steps, and the releases that Inventory has not answered.
 *
 * Notice: Inventory down is the customer's problem here (503 at once, 504 after
 * the timeout). Not knowing is not "no": an order that is given up is released
 * until Inventory has answered, however long that takes.
 */
import { Order, OrderAccepted, OrderConfirmed, OrderPage, PlaceOrder } from "@lab/contracts/order";
import { Problem, type ProblemCode } from "@lab/contracts/problem";
import { callDirectly } from "@lab/runtime/http/direct-calls";
import { HttpUrl, serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs } from "@lab/runtime/faults";
import { createApp } from "@lab/runtime/http/app";
import { createLog, reasonOf } from "@lab/runtime/log";
import { isTransient } from "@lab/runtime/transient";
import { OrderHeaders, OrderParams, OrderQuery } from "@lab/runtime/http/requests";
import { listen, runService, type Service } from "@lab/runtime/service";
import { Orders, ORDERS_SCHEMA } from "@lab/store/orders";
import { Releases, RELEASES_SCHEMA } from "@lab/store/releases";
import { DatabaseLost, Store } from "@lab/store/store";
import { type Static, Type } from "@sinclair/typebox";
import { Client } from "./client.ts";
import { finish, giveUp, type Shop, startRepairs } from "./endings.ts";

export const Config = Type.Object({
  ...serviceKnobs({ port: 8001, database: ".lab/data/sync-rest/order.sqlite" }),
  ...faultKnobs("order"),
  inventoryUrl: HttpUrl("http://127.0.0.1:8002"),
  inventoryTimeoutMs: Type.Integer({ minimum: 1, maximum: 60_000, default: 5000 }),
  notificationUrl: HttpUrl("http://127.0.0.1:8009"),
  notificationTimeoutMs: Type.Integer({ minimum: 1, maximum: 60_000, default: 2000 }),
  /** Pause between two attempts to complete what a neighbour didn't answer. */
  retryEveryMs: Type.Integer({ minimum: 1, default: 500 }),
});

export async function startOrder(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("order-service", config.logLevel);
  const faults = createFaults("order", config);
  const store = new Store(config.database, [...ORDERS_SCHEMA, ...RELEASES_SCHEMA]);
  const orders = new Orders(store.db);
  const releases = new Releases(store.db);
  const inFlight = new Set<string>();
  const shop: Shop = {
    client: new Client(config, log),
    faults,
    inFlight,
    log,
    orders,
    releases,
    store,
    owesRelease: () => repairs.wake(),
  };

  const app = createApp("order-service", {
    model: "sync-rest",
    faults,
    log,
    health: () => ({
      needs: { database: store.healthy() },
      problems: store.problems(),
      owed: {
        releases: releases.owed(),
        orders: orders.owed("placed", inFlight),
        confirmations: orders.owed("reserved", inFlight),
      },
    }),
  })
    .post(
      "/order",
      async ({ body, headers, set, status }) => {
        const order = await onOrder(shop, body, headers);
        if (order.status !== "placed") return status(201, order);
        set.headers["location"] = `/orders/${order.order_id}`;
        return status(202, order);
      },
      {
        body: PlaceOrder,
        headers: OrderHeaders,
        response: { 201: OrderConfirmed, 202: OrderAccepted },
        detail: { summary: "Order, and wait for the whole workflow" },
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
  // Before the repair starts: if another process has this port, its orders must not be repaired
  // here.
  const url = listen(app, config);

  const repairs = startRepairs(shop, config.retryEveryMs);

  return {
    name: "order-service",
    url,
    database: config.database,
    faults,
    stop: [
      ["intake-ended", () => app.stop()],
      ["repairs-ended", () => repairs.stop()],
      ["store-closed", () => store.close()],
    ],
  };
}

async function onOrder(
  shop: Shop,
  body: PlaceOrder,
  { traceparent, "idempotency-key": key }: Static<typeof OrderHeaders>,
) {
  const { client, faults, inFlight, log } = shop;
  await faults.strike();
  // 1. Accept the order: it is stored before any other service knows of it.
  const { kind, order } = await accept(shop, body, key);
  if (kind === "known") return answerAgain(order);
  const { order_id } = order;
  try {
    // 2. Reserve stock: yes, no and unknown are three different results.
    const reserved = await client.reserve(order, traceparent);
    if (reserved.kind !== "reserved") {
      await giveUp(shop, order_id, reserved);
      throw new Problem(reserved.code as ProblemCode, reserved.detail, {
        orderId: order_id,
        ...(reserved.kind === "unreachable" && { headers: { "retry-after": "1" } }),
      });
    }

    // 3. Tell the customer: if that fails, the order stays reserved, and it is done later.
    const told = await client.send(order, traceparent);
    await finish(shop, order_id, reserved.at, told);
    return confirmed(order_id, told.kind === "told");
  } catch (error) {
    if (!isTransient(error)) throw error;
    log.warn("store_unavailable", { order_id, reason: reasonOf(error) });
    // The outcome can't be stored, and it is unknown whether the order still is.
    if (error instanceof DatabaseLost) {
      const detail = "it may have been stored; look it up";
      throw new Problem("store_unavailable", detail, { orderId: order_id });
    }
    // The order is stored, and the repair completes it: "no" would be wrong.
    return { order_id, status: "placed" as const };
  } finally {
    inFlight.delete(order_id);
  }
}

/** Stores the order, unless its key is known; from then on it is in flight. */
async function accept({ inFlight, orders, store }: Shop, body: PlaceOrder, key?: string) {
  let placedId = "";
  try {
    return await store.commit(() => {
      const accepted = orders.placeOnce(body, key);
      if (accepted.kind === "placed") placedId = accepted.order.order_id;
      // Inside the transaction: the repair must never see the order as unattended.
      if (placedId) inFlight.add(placedId);
      return accepted;
    });
  } catch (error) {
    inFlight.delete(placedId);
    throw error;
  }
}

/** The answer that the first request with this key got. */
function answerAgain(order: Order) {
  switch (order.status) {
    case "placed":
      throw new Problem("order_in_progress", "ask again in a moment", {
        orderId: order.order_id,
        headers: { "retry-after": "1" },
      });
    case "reserved":
    case "confirmed":
      return confirmed(order.order_id, order.status === "confirmed");
    case "failed":
      throw new Problem(
        order.reason as ProblemCode,
        "as answered before, and for good: to order again, take a new key",
        { orderId: order.order_id },
      );
    default:
      return order.status satisfies never;
  }
}

function confirmed(orderId: string, told: boolean) {
  return {
    order_id: orderId,
    status: told ? ("confirmed" as const) : ("reserved" as const),
    notification: told ? ("sent" as const) : ("pending" as const),
  };
}

if (import.meta.main) {
  callDirectly();
  await runService(startOrder, Config);
}
