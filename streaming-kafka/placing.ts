/** How orders are placed in the streaming model: one, or a stream generated from a seed. */
import { newEvent } from "@lab/contracts/events";
import type { Order, PlaceOrder } from "@lab/contracts/order";
import type { Backoff } from "@lab/runtime/work/backoff";
import type { Faults } from "@lab/runtime/faults";
import type { Log } from "@lab/runtime/log";
import type { Rest } from "@lab/runtime/work/repeater";
import { beginSpan, endSpan } from "@lab/runtime/trace";
import type { Bulks } from "@lab/store/bulks";
import type { Orders } from "@lab/store/orders";
import type { Outbox } from "@lab/store/outbox";
import type { Store } from "@lab/store/store";
import { bulkOrder } from "@lab/workflow/bulk";
import { setTimeout } from "node:timers/promises";
import type { Stream } from "./kafka/stream.ts";
import { SEND_BATCH, type Topics } from "./topics.ts";

/** What the order service's functions share. */
export interface Shop {
  bulks: Bulks;
  faults: Faults;
  log: Log;
  names: Topics;
  orders: Orders;
  outbox: Outbox;
  /** Events that Kafka has refused, by their number in the outbox. */
  refused: Backoff<number>;
  store: Store;
  stream: Stream;
  /** There are events to send. */
  wake(): void;
  /** There is a bulk stream to place. */
  wakeBulks(): void;
}

/** Stores the order, unless its key is known, and its event beside it. Call it inside `store.commit`. */
export function placeOrder(
  { orders, outbox }: Shop,
  body: PlaceOrder,
  idempotencyKey?: string,
  traceparent?: string,
): Order {
  const { kind, order } = orders.placeOnce(body, idempotencyKey);
  if (kind === "placed") {
    const { order_id, user_id, kitchen, items } = order;
    const data = { order_id, user_id, kitchen, items };
    outbox.add(kitchen, newEvent("OrderPlaced", "order-producer", data, traceparent));
  }
  return order;
}

/** Between two looks at what is due of a stream that has a rate. */
const TICK_MS = 20;

/** Places the orders of the bulk streams, each when it is due, until every stream is finished. */
export async function placeBulks(shop: Shop, stopped: () => boolean): Promise<Rest> {
  const { bulks, log, store } = shop;
  const look = () => bulks.running(SEND_BATCH);
  for (let running = look(); running.length > 0; running = look()) {
    // A batch of each in turn: a burst does not starve the others.
    for (const { bulk_id, plan, due } of running) {
      if (stopped()) return;
      if (due.length === 0) continue;
      const bulk = await store.commit(() => {
        for (const n of due) {
          const trace = beginSpan(log, undefined, () => ({
            kind: "internal",
            name: "place order",
          }));
          const { order_id } = placeOrder(shop, bulkOrder(plan, n), undefined, trace);
          endSpan(trace, { order_id });
        }
        return bulks.advance(bulk_id, due.length);
      });
      shop.wake();
      if (bulk.state === "finished") log.info("bulk_finished", { ...bulk });
    }
    if (running.every(({ due }) => due.length === 0)) await setTimeout(TICK_MS);
  }
  return "idle";
}
