/** How orders are placed in the streaming model: one, or a stream generated from a seed. */
import { newEvent } from "@lab/contracts/events";
import type { Order, PlaceOrder } from "@lab/contracts/order";
import type { Backoff } from "@lab/runtime/work/backoff";
import type { Faults } from "@lab/runtime/faults";
import type { Log } from "@lab/runtime/log";
import { childTrace } from "@lab/runtime/trace";
import type { Bulks } from "@lab/store/bulks";
import type { Orders } from "@lab/store/orders";
import type { Outbox } from "@lab/store/outbox";
import type { Store } from "@lab/store/store";
import { bulkOrder } from "@lab/workflow/bulk";
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
  /** There may be bulk orders to place, or events to send. */
  wake(): void;
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
    const trace = childTrace(traceparent);
    outbox.add(kitchen, newEvent("OrderPlaced", "order-producer", data, trace));
  }
  return order;
}

/** Places the orders of the bulk streams that are due. */
export async function placeBulks(shop: Shop, stopped: () => boolean): Promise<void> {
  const { bulks, log, store } = shop;
  // A batch of each in turn: a burst does not starve the others.
  for (let due = bulks.due(SEND_BATCH); due.length > 0; due = bulks.due(SEND_BATCH)) {
    for (const { bulk_id, plan, due: numbers } of due) {
      if (stopped()) return;
      const bulk = await store.commit(() => {
        for (const n of numbers) placeOrder(shop, bulkOrder(plan, n));
        return bulks.advance(bulk_id, numbers.length);
      });
      shop.wake();
      if (bulk.state === "finished") log.info("bulk_finished", { ...bulk });
    }
  }
}
