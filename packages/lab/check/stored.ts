import type { OrderPlaced } from "@lab/contracts/events";
import type { OrderItem, OrderStatus, PlaceOrder } from "@lab/contracts/order";
import type { BulkRequest } from "@lab/contracts/bulk";
import { bulkOrder } from "@lab/workflow/bulk";
import { read } from "../probes/databases.ts";
import type { Model } from "@lab/evidence/evidence";
import { PROMISES } from "@lab/evidence/promises";
import { factsOf } from "../brokers/model-facts.ts";

/** Database files of a model's services. */
export interface Files {
  orders: string;
  inventory: string;
  /** Undefined where the model has no notifications. */
  notification?: string;
}

export interface StoredOrder {
  order_id: string;
  user_id: string;
  kitchen: string;
  items: OrderItem[];
  status: OrderStatus;
  reason: string | null;
  steps: OrderStatus[];
}

interface StoredReservation {
  order_id: string;
  state: "reserved" | "rejected" | "released";
  /** Null where a release came before its order. */
  kitchen: string | null;
  items: OrderItem[];
  reason: string | null;
  /** When it was decided; for a released one, when it was released. */
  at: string;
}

interface StoredConfirmation {
  order_id: string;
  user_id: string;
  text: string;
}

/** What the services have stored, as the checker needs it. */
export interface Stored {
  orders: ReadonlyMap<string, StoredOrder>;
  reservations: ReadonlyMap<string, StoredReservation>;
  /** By order id; undefined where the model has no notifications. */
  confirmations: ReadonlyMap<string, StoredConfirmation[]> | undefined;
  /** Units left, by `shelf`. */
  stock: ReadonlyMap<string, number>;
  /** The orders that bulk streams have requested so far. */
  streamed: readonly PlaceOrder[];
  /** The events that the order service publishes. */
  published: readonly OrderPlaced[];
  /** Digests of the events that Inventory has processed, by id and source. */
  ids: ReadonlyMap<string, ReadonlyMap<string, string>>;
  /** Where order is promised: each kitchen's orders, first to last, with the time at which Inventory processed each. */
  worked: readonly { kitchen: string; order_id: string; at: string }[];
}

/** The key of an item in a kitchen. */
export function shelf(kitchen: string, sku: string): string {
  return `${kitchen} ${sku}`;
}

export function readStored(model: Model, files: Files): Stored {
  const orders = read<Omit<StoredOrder, "items" | "steps"> & { items: string; steps: string }>(
    { database: files.orders },
    `SELECT order_id, user_id, kitchen, items, status, reason,
       (SELECT group_concat(status) FROM order_steps s WHERE s.order_id = o.order_id) AS steps
     FROM orders o`,
  ).map((row) => ({
    ...row,
    items: JSON.parse(row.items) as OrderItem[],
    steps: row.steps.split(",") as OrderStatus[],
  }));
  const reservations = read<Omit<StoredReservation, "items"> & { items: string }>(
    { database: files.inventory },
    "SELECT order_id, state, kitchen, items, reason, at FROM reservations",
  ).map((row) => ({ ...row, items: JSON.parse(row.items) as OrderItem[] }));
  const stock = read<{ kitchen: string; sku: string; quantity: number }>(
    { database: files.inventory },
    "SELECT * FROM stock",
  );
  const { broker, takesBulks } = factsOf(model);
  return {
    orders: new Map(orders.map((order) => [order.order_id, order])),
    reservations: new Map(reservations.map((one) => [one.order_id, one])),
    confirmations: readConfirmations(files.notification),
    stock: new Map(stock.map(({ kitchen, sku, quantity }) => [shelf(kitchen, sku), quantity])),
    streamed: takesBulks ? readStreamed(files.orders) : [],
    published: broker ? readPublished(files) : [],
    ids: broker ? readIds(files) : new Map(),
    worked: PROMISES[model].keepsOrder ? readWorked(files) : [],
  };
}

function readConfirmations(database?: string): Stored["confirmations"] {
  if (database === undefined) return undefined;
  const rows = read<StoredConfirmation>(
    { database },
    "SELECT order_id, user_id, text FROM notifications",
  );
  return Map.groupBy(rows, ({ order_id }) => order_id);
}

/** The placed orders of each bulk stream, generated from its seed. */
function readStreamed(database: string): PlaceOrder[] {
  return read<{ request: string; placed: number }>(
    { database },
    "SELECT request, placed FROM bulks",
  ).flatMap(({ placed, request }) => {
    const { fail_rate: failRate, kitchens, seed } = JSON.parse(request) as BulkRequest;
    return Array.from({ length: placed }, (_, n) => bulkOrder({ seed, kitchens, failRate }, n));
  });
}

function readPublished({ orders }: Files): OrderPlaced[] {
  return read<{ body: string }>({ database: orders }, "SELECT body FROM outbox").map(
    ({ body }) => JSON.parse(body) as OrderPlaced,
  );
}

function readIds({ inventory }: Files): Stored["ids"] {
  const rows = read<{ event_id: string; source: string; digest: string }>(
    { database: inventory },
    "SELECT event_id, source, digest FROM ledger",
  );
  const byId = Map.groupBy(rows, ({ event_id }) => event_id);
  return new Map(
    [...byId].map(([id, own]) => [id, new Map(own.map(({ digest, source }) => [source, digest]))]),
  );
}

function readWorked({ inventory, orders }: Files): Stored["worked"] {
  const processed = new Map(
    read<{ event_id: string; processed_at: string }>(
      { database: inventory },
      "SELECT event_id, processed_at FROM ledger",
    ).map(({ event_id, processed_at }) => [event_id, processed_at]),
  );
  return read<{ event_id: string; key: string; order_id: string }>(
    { database: orders },
    "SELECT event_id, key, body ->> 'subject' AS order_id FROM outbox ORDER BY seq",
  ).flatMap(({ event_id, key, order_id }) => {
    const at = processed.get(event_id);
    return at === undefined ? [] : [{ kitchen: key, order_id, at }];
  });
}
