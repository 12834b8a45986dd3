import { Database } from "bun:sqlite";
import type { OrderItem, OrderStatus } from "@lab/contracts/order";
import { OPENING_STOCK } from "@lab/workflow/menu";
import type { Model } from "./evidence.ts";
import type { Operation } from "./history.ts";

/** How often a message may be tried before it is dead, by model. */
const MOST_ATTEMPTS: Record<Model, number> = {
  "sync-rest": Infinity,
  "async-rabbitmq": 6,
  "streaming-kafka": 5,
};

/** What an order may end as, by model. */
const TERMINAL: Record<Model, readonly OrderStatus[]> = {
  "sync-rest": ["confirmed", "failed"],
  "async-rabbitmq": ["confirmed", "failed"],
  "streaming-kafka": ["reserved", "failed"],
};

/** Answers that refuse a request, and say nothing of what becomes of the order that they name. */
const SAYS_NOTHING = ["order_in_progress", "idempotency_key_reused"];

/** What is illegal in every model; each lists order ids, but `unbalanced`: kitchen, sku and units. */
export interface Violations {
  /** Acknowledged to the client, and without a terminal state. */
  lost: string[];
  /** Stored, not acknowledged, and without a terminal state. */
  stuck: string[];
  /** An effect twice: more than one confirmation, more than one order for a client's key. */
  doubled: string[];
  /** More reserved than there was. */
  oversold: string[];
  /** Stock held for an order that failed or was never stored. */
  leaked: string[];
  /** The client or a neighbour was told one thing, the store says another. */
  contradicted: string[];
  /** Failed, and then something else, or the other way round. */
  resurrected: string[];
  /** Stored, though the client knows nothing of it, and has no unknown outcome left that it could be. */
  unexpected: string[];
  /** Opening stock is not what is left and what is reserved. */
  unbalanced: string[];
  /** Analytics counts something else than the orders say: what, and both numbers. */
  miscounted: string[];
  /** Its message was tried more often than the limit allows. */
  endless: string[];
  /** Generations of metrics that a replay computed, and which are not what stood there before. */
  unequal: string[];
}

export interface Verdict extends Violations {
  attempted: number;
  acknowledged: number;
  /** Told "no" for certain. */
  refused: number;
  unknown: number;
  reserved: number;
  confirmed: number;
  failed: number;
  /** Given up, and their stock given back or never taken. */
  released: number;
  /** Unknown to the client, and in a terminal state since: seen, and legal. */
  recovered: string[];
  /** Without a terminal state, because their message lies in a dead queue: seen, and kept. */
  dead: string[];
  stock_difference_units: number;
}

export interface Checked {
  model: Model;
  /** The client's history: every operation of kind `place_order`. */
  operations: readonly Operation[];
  /** Database files. */
  orders: string;
  inventory: string;
  notification?: string;
  /** Ids of the orders whose message lies in a dead queue or topic. */
  dead?: readonly string[];
  /** What Analytics shows, where there is one. */
  metrics?: { placed: number; reserved: number; failed: number };
  /** The last replay that has ended. */
  replay?: { generation: number; digest_before: string | null; digest_after: string | null };
  /** How often the message of an order was tried, as far as it had to be tried again. */
  attempts?: ReadonlyMap<string, number>;
  /** Orders that did not come from this history: a bulk stream's. */
  others?: number;
  /** Units of everything in every kitchen at the start. */
  openingStock?: number;
}

interface OrderRow {
  order_id: string;
  status: OrderStatus;
  steps: string;
}

interface ReservationRow {
  order_id: string;
  state: "reserved" | "rejected" | "released";
  kitchen: string;
  items: string;
}

/**
 * Holds what the client was told against what the services have stored, order
 * by order. Call it when all is settled: an order that is still on its way
 * counts as lost.
 */
export function checkOrders(checked: Checked): Verdict {
  const stored = readOrders(checked.orders);
  const reservations = readReservations(checked.inventory);
  const told = readConfirmations(checked.notification);
  const verdict = emptyVerdict();
  const terminal = (order: OrderRow | undefined) =>
    order !== undefined && TERMINAL[checked.model].includes(order.status);
  const dead = new Set(checked.dead);

  const known = new Set<string>();
  const byKey = ordersByKey(checked.operations);
  const unresolved = new Set<string | number>();
  for (const operation of checked.operations) {
    if (operation.kind !== "place_order") continue;
    verdict.attempted += 1;
    const { code = "", key, outcome, order_id: orderId } = operation;
    if (outcome === "ok") verdict.acknowledged += 1;
    if (outcome === "failed") verdict.refused += 1;
    if (outcome === "unknown") verdict.unknown += 1;
    // An answer to another try with the same key tells which order it was.
    if (outcome === "unknown" && !byKey.has(key ?? "")) unresolved.add(key ?? operation.id);
    if (orderId === undefined) {
      if (outcome === "ok") verdict.lost.push(`operation ${operation.id}: no order id`);
      continue;
    }
    const order = stored.get(orderId);
    if (outcome !== "unknown") known.add(orderId);
    if (outcome === "ok" && !terminal(order) && !dead.has(orderId)) verdict.lost.push(orderId);
    // 201 said that the order stands; any other answer with an id that it does not.
    const stands = order?.status !== "failed";
    if (operation.status === 201 && order && !stands) {
      verdict.contradicted.push(orderId);
    }
    if (outcome === "failed" && order && stands && !SAYS_NOTHING.includes(code)) {
      verdict.contradicted.push(orderId);
    }
  }

  for (const [orderId, order] of stored) {
    const steps = order.steps.split(",");
    if (order.status === "reserved") verdict.reserved += 1;
    if (order.status === "confirmed") verdict.confirmed += 1;
    if (order.status === "failed") verdict.failed += 1;
    if (!terminal(order) && dead.has(orderId)) verdict.dead.push(orderId);
    else if (!known.has(orderId)) {
      if (terminal(order)) verdict.recovered.push(orderId);
      else verdict.stuck.push(orderId);
    }
    const stands = order.status === "reserved" || order.status === "confirmed";
    if (steps.includes("failed") && steps.some((s) => s !== "placed" && s !== "failed")) {
      verdict.resurrected.push(orderId);
    }
    if (stands && reservations.get(orderId)?.state !== "reserved") {
      verdict.contradicted.push(orderId);
    }
    if (told && (order.status === "confirmed") !== told.has(orderId)) {
      verdict.contradicted.push(orderId);
    }
  }
  // What became of a timeout is stored, too; more than that nobody asked for.
  const unheard = [...stored.keys()].filter((orderId) => !known.has(orderId));
  if (unheard.length > unresolved.size + (checked.others ?? 0)) verdict.unexpected.push(...unheard);
  for (const orderIds of byKey.values()) {
    if (orderIds.size > 1) verdict.doubled.push(...orderIds);
  }
  for (const [orderId, count] of told ?? []) {
    if (count > 1) verdict.doubled.push(orderId);
    if (!stored.has(orderId)) verdict.contradicted.push(orderId);
  }
  for (const [orderId, { state }] of reservations) {
    if (state === "released") verdict.released += 1;
    const order = stored.get(orderId);
    if (state === "reserved" && (!order || order.status === "failed")) {
      verdict.leaked.push(orderId);
    }
  }
  checkStock(checked, reservations, verdict);
  const { reserved, failed } = verdict;
  const counted = { placed: stored.size, reserved, failed };
  for (const [name, count] of Object.entries(counted)) {
    const shown = checked.metrics?.[name as keyof typeof counted] ?? count;
    if (shown !== count) verdict.miscounted.push(`${name}: ${shown}, not ${count}`);
  }
  for (const [orderId, count] of checked.attempts ?? []) {
    if (count > MOST_ATTEMPTS[checked.model]) verdict.endless.push(orderId);
  }
  const { replay } = checked;
  if (replay && replay.digest_after !== replay.digest_before) {
    verdict.unequal.push(`generation ${replay.generation}`);
  }
  return verdict;
}

/** The violations that are there; `{}` when nothing illegal was found. */
export function violations(verdict: Verdict): Partial<Violations> {
  return Object.fromEntries(
    Object.entries(noViolations())
      .map(([name]) => [name, verdict[name as keyof Violations]] as const)
      .filter(([, found]) => found.length > 0),
  );
}

/** The orders that each of the clients' keys was answered with. */
function ordersByKey(operations: readonly Operation[]): Map<string, Set<string>> {
  const byKey = new Map<string, Set<string>>();
  for (const { key, order_id: orderId } of operations) {
    if (key === undefined || orderId === undefined) continue;
    byKey.set(key, (byKey.get(key) ?? new Set()).add(orderId));
  }
  return byKey;
}

function checkStock(
  { inventory, openingStock = OPENING_STOCK }: Checked,
  reservations: Map<string, ReservationRow>,
  verdict: Verdict,
): void {
  const held = new Map<string, number>();
  for (const { state, kitchen, items } of reservations.values()) {
    if (state !== "reserved") continue;
    for (const { sku, qty } of JSON.parse(items) as OrderItem[]) {
      const at = `${kitchen} ${sku}`;
      held.set(at, (held.get(at) ?? 0) + qty);
    }
  }
  const left = query<{ kitchen: string; sku: string; quantity: number }>(
    inventory,
    "SELECT * FROM stock",
  );
  for (const { kitchen, sku, quantity } of left) {
    const at = `${kitchen} ${sku}`;
    const reserved = held.get(at) ?? 0;
    const difference = quantity + reserved - openingStock;
    if (reserved > openingStock) verdict.oversold.push(at);
    if (difference === 0) continue;
    verdict.unbalanced.push(`${at}: ${difference}`);
    verdict.stock_difference_units += Math.abs(difference);
  }
}

function readOrders(path: string): Map<string, OrderRow> {
  const rows = query<OrderRow>(
    path,
    `SELECT order_id, status,
       (SELECT group_concat(status) FROM order_steps s WHERE s.order_id = o.order_id) AS steps
     FROM orders o`,
  );
  return new Map(rows.map((row) => [row.order_id, row]));
}

function readReservations(path: string): Map<string, ReservationRow> {
  const rows = query<ReservationRow>(
    path,
    "SELECT order_id, state, kitchen, items FROM reservations",
  );
  return new Map(rows.map((row) => [row.order_id, row]));
}

/** How often each customer was told; undefined where the model tells nobody. */
function readConfirmations(path: string | undefined): Map<string, number> | undefined {
  if (path === undefined) return undefined;
  const rows = query<{ order_id: string; n: number }>(
    path,
    "SELECT order_id, count(*) AS n FROM notifications GROUP BY order_id",
  );
  return new Map(rows.map(({ order_id, n }) => [order_id, n]));
}

function query<Row>(path: string, sql: string): Row[] {
  using db = new Database(path, { readonly: true });
  return db.query<Row, []>(sql).all();
}

function noViolations(): Violations {
  return {
    lost: [],
    stuck: [],
    doubled: [],
    oversold: [],
    leaked: [],
    contradicted: [],
    resurrected: [],
    unexpected: [],
    unbalanced: [],
    miscounted: [],
    endless: [],
    unequal: [],
  };
}

function emptyVerdict(): Verdict {
  return {
    attempted: 0,
    acknowledged: 0,
    refused: 0,
    unknown: 0,
    reserved: 0,
    confirmed: 0,
    failed: 0,
    released: 0,
    recovered: [],
    dead: [],
    stock_difference_units: 0,
    ...noViolations(),
  };
}
