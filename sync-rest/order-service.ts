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
import {
  Order,
  OrderAccepted,
  OrderConfirmed,
  OrderPage,
  type OrderStatus,
  PlaceOrder,
  RejectReason,
} from "@lab/contracts/order";
import { Problem, type ProblemCode } from "@lab/contracts/problem";
import { callDirectly } from "@lab/runtime/direct-calls";
import { HttpUrl, serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs } from "@lab/runtime/faults";
import { createApp } from "@lab/runtime/http";
import { createLog, reasonOf } from "@lab/runtime/log";
import { without } from "@lab/runtime/protections";
import { DatabaseLost, mayPass } from "@lab/runtime/patience";
import { type Attempt, Repair, type RepairOptions } from "@lab/runtime/repair";
import { OrderHeaders, OrderParams, OrderQuery } from "@lab/runtime/requests";
import { listen, runService, type Service } from "@lab/runtime/service";
import { childTrace } from "@lab/runtime/trace";
import { Orders, ORDERS_SCHEMA } from "@lab/store/orders";
import { Releases, RELEASES_SCHEMA } from "@lab/store/releases";
import { Store } from "@lab/store/store";
import { type Static, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { failedAttempt, posted, whyUnknown } from "./client.ts";

export const Config = Type.Object({
  ...serviceKnobs({ port: 8001, database: ".lab/data/sync-rest/order.sqlite" }),
  ...faultKnobs("order"),
  inventoryUrl: HttpUrl("http://127.0.0.1:8002"),
  inventoryTimeoutMs: Type.Integer({ minimum: 1, maximum: 60_000, default: 5000 }),
  notificationUrl: HttpUrl("http://127.0.0.1:8009"),
  notificationTimeoutMs: Type.Integer({ minimum: 1, maximum: 60_000, default: 2000 }),
  /** Pause between two attempts to finish what a neighbour left open. */
  retryEveryMs: Type.Integer({ minimum: 1, default: 500 }),
});

export async function startOrder(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("order-service", config.logLevel);
  const faults = createFaults("order", config);
  const store = new Store(config.database, [...ORDERS_SCHEMA, ...RELEASES_SCHEMA]);
  const orders = new Orders(store.db);
  const releases = new Releases(store.db);
  /** Orders that a request is working on: not the repair's business. */
  const inFlight = new Set<string>();

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
      ({ body, headers, set, status }) =>
        onOrder(body, headers["idempotency-key"], headers["traceparent"]).then((order) => {
          if (order.status !== "placed") return status(201, order);
          set.headers["location"] = `/orders/${order.order_id}`;
          return status(202, order);
        }),
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

  async function onOrder(
    body: Static<typeof PlaceOrder>,
    idempotencyKey: string | undefined,
    traceparent: string | undefined,
  ) {
    // 1. Accept the order: it is stored before anybody else hears of it.
    await faults.strike();
    let placedId = "";
    const placing = store.commit(() => {
      const accepted = orders.placeOnce(body, idempotencyKey);
      if (accepted.kind === "placed") placedId = accepted.order.order_id;
      // Inside the transaction: the repair must never see it as nobody's.
      if (placedId) inFlight.add(placedId);
      faults.reached("placed-before-commit");
      return accepted;
    });
    placing.catch(() => inFlight.delete(placedId));
    const { kind, order } = await placing;
    if (kind === "known") return answerAgain(order);
    try {
      faults.reached("stored-before-reserve");
      const trace = childTrace(traceparent);

      // 2. Reserve stock: yes, no, or not known, and each is told apart.
      const reserved = await askInventory(order, trace);
      if (reserved.kind !== "reserved") {
        faults.reached("refused-before-commit");
        await giveUp(order, reserved);
        faults.reached("failed-before-answer");
        throw new Problem(reserved.code, reserved.detail, {
          orderId: order.order_id,
          ...(reserved.kind === "unreachable" && { headers: { "retry-after": "1" } }),
        });
      }

      // 3. Tell the customer: if that fails the order stands, and is told later.
      faults.reached("reserved-before-send");
      const told = await tellCustomer(order, trace);
      faults.reached("told-before-commit");
      await finish(order, reserved.at, told);
      faults.reached("stored-before-answer");
      return confirmed(order.order_id, told.kind === "told");
    } catch (error) {
      if (!mayPass(error)) throw error;
      const orderId = order.order_id;
      log.warn("store_unavailable", { order_id: orderId, reason: reasonOf(error) });
      // Its end can't be stored, and whether the order still is, nobody knows.
      if (error instanceof DatabaseLost) {
        throw new Problem("store_unavailable", "it may have been stored; look it up", { orderId });
      }
      // The order is: the repair ends it, so "no" would be a lie.
      return { order_id: orderId, status: "placed" as const };
    } finally {
      inFlight.delete(order.order_id);
    }
  }

  /** POST /reserve, whose answer may be yes, no, an error, or never come. */
  async function askInventory(order: Order, trace: string) {
    const { order_id, kitchen, items } = order;
    try {
      const response = await fetch(
        `${config.inventoryUrl}/reserve`,
        posted({ order_id, kitchen, items }, trace, config.inventoryTimeoutMs),
      );
      const answer = (await response.json()) as { code: ProblemCode; detail: string };
      if (response.ok) return { kind: "reserved", at: now() } as const;
      if (response.status === 409 && Value.Check(RejectReason, answer.code)) {
        return { kind: "rejected", ...answer } as const;
      }
      // An error may come after its effect: as unknown as no answer.
      return {
        kind: "unknown",
        code: "inventory_error",
        detail: `Inventory answered ${response.status}`,
        attempt: failedAttempt(response, order_id, log),
      } as const;
    } catch (error) {
      const attempt = failedAttempt(error, order_id, log);
      if (attempt === "unreachable") {
        return {
          kind: "unreachable",
          code: "inventory_unreachable",
          detail: "nothing was reserved; try again",
          attempt,
        } as const;
      }
      return {
        kind: "unknown",
        code: "inventory_timeout",
        detail: `${whyUnknown(error)}; the order is cancelled`,
        attempt,
      } as const;
    }
  }

  /** Fails the order and, if Inventory may hold stock for it, owes a release. */
  async function giveUp(
    { order_id }: Order,
    { kind, code }: { kind: string; code: string },
  ): Promise<void> {
    await store.commit(() => {
      orders.advance(order_id, "failed", now(), code);
      if (kind === "unknown") releases.add(order_id);
    });
    log.debug("order_advanced", { order_id, status: "failed", reason: code });
    if (kind === "unknown") releasing.wake();
  }

  /** POST /send: idempotent by order id, so a doubt is settled by asking again. */
  async function tellCustomer(order: Order, trace: string) {
    const { order_id, user_id, kitchen } = order;
    const answer = await fetch(
      `${config.notificationUrl}/send`,
      posted({ order_id, user_id, kitchen }, trace, config.notificationTimeoutMs),
    ).catch((error: unknown) => error);
    if (answer instanceof Response && answer.ok) return { kind: "told", at: now() } as const;
    return { kind: "pending", attempt: failedAttempt(answer, order_id, log) } as const;
  }

  async function finish(
    { order_id }: Order,
    reservedAt: string,
    told: { kind: "told"; at: string } | { kind: "pending" },
  ): Promise<void> {
    // One commit for both steps. Killed before it, the order is still `placed`
    // and the repair asks Inventory and Notification again; both know it.
    await store.commit(() => {
      orders.advance(order_id, "reserved", reservedAt);
      if (told.kind === "told") orders.advance(order_id, "confirmed", told.at);
    });
    log.debug("order_advanced", { order_id, notification: told.kind });
  }

  // Before the repair: what another process on this port works on is none of its business.
  const url = listen(app, config);

  // What is open is finished, however long that takes: releases that Inventory has not answered,
  // orders that an earlier process left half-way, and confirmations that are owed.
  const repair = (owed: RepairOptions["owed"], attempt: RepairOptions["attempt"]) =>
    new Repair(log, config.retryEveryMs, {
      owed(...page) {
        // Else nothing could be marked as done, and the same would be asked for again and again.
        store.mustStand();
        return owed(...page);
      },
      attempt,
    });
  const releasing = repair((...page) => releases.pending(...page), release);
  const asking = repair((...page) => openOrders("placed", ...page), askAgain);
  const telling = repair((...page) => openOrders("reserved", ...page), tellLater);

  function openOrders(status: OrderStatus, limit: number, after: string): string[] {
    return without("recovery") ? [] : orders.inStatus(status, limit, after);
  }

  /** Whether an order is still as it was, and no request works on it. */
  function isNobodys({ order_id, status }: Order, was: OrderStatus): boolean {
    if (without("in-flight")) return true;
    return !inFlight.has(order_id) && status === was;
  }

  /** POST /release, until Inventory has answered. */
  async function release(orderId: string): Promise<Attempt> {
    const answer = await fetch(
      `${config.inventoryUrl}/release`,
      posted({ order_id: orderId }, childTrace(undefined), config.inventoryTimeoutMs),
    ).catch((error: unknown) => error);
    if (!(answer instanceof Response && answer.ok)) return failedAttempt(answer, orderId, log);
    faults.reached("released-before-commit");
    await store.commit(() => releases.done(orderId));
    log.debug("stock_released", { order_id: orderId });
    return "done";
  }

  async function askAgain(orderId: string): Promise<Attempt> {
    const order = orders.get(orderId);
    if (!isNobodys(order, "placed")) return "done";
    const trace = childTrace(undefined);
    const reserved = await askInventory(order, trace);
    faults.reached("asked-again-before-commit");
    if (reserved.kind === "reserved") {
      const told = await tellCustomer(order, trace);
      faults.reached("told-again-before-commit");
      await finish(order, reserved.at, told);
    } else if (reserved.kind === "rejected") await giveUp(order, reserved);
    else return reserved.attempt;
    return "done";
  }

  async function tellLater(orderId: string): Promise<Attempt> {
    const order = orders.get(orderId);
    if (!isNobodys(order, "reserved")) return "done";
    const told = await tellCustomer(order, childTrace(undefined));
    if (told.kind === "pending") return told.attempt;
    faults.reached("told-later-before-commit");
    await finish(order, now(), told);
    return "done";
  }

  return {
    name: "order-service",
    url,
    database: config.database,
    faults,
    async stop() {
      faults.end();
      await app.stop();
      faults.reached("intake-ended");
      await Promise.all([releasing.stop(), asking.stop(), telling.stop()]);
      store.close();
    },
  };
}

/** What the first request with this key was answered. */
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

function now(): string {
  return new Date().toISOString();
}

if (import.meta.main) {
  callDirectly();
  await runService(startOrder, Config);
}
