import { read } from "./databases.ts";
import type { OrderItem, OrderStatus, PlaceOrder } from "@lab/contracts/order";
import { DEFAULT_KITCHEN, KITCHENS, OPENING_STOCK, SKUS } from "@lab/workflow/menu";
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

/** Why an order may fail though Inventory never said no, by model. */
const GIVEN_UP: Record<Model, readonly string[]> = {
  "sync-rest": ["inventory_error", "inventory_timeout", "inventory_unreachable"],
  "async-rabbitmq": [],
  "streaming-kafka": [],
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
  /** The client or a neighbour was told one thing, the store says another; or it failed for nothing. */
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
  /** What was still on its way when nothing had moved for long: what, and how much of it. */
  unfinished: string[];
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
  /** What was still on its way, in words. */
  unfinished?: readonly string[];
}

interface OrderRow {
  order_id: string;
  user_id: string;
  kitchen: string;
  items: string;
  status: OrderStatus;
  reason: string | null;
  steps: string;
}

interface ReservationRow {
  order_id: string;
  state: "reserved" | "rejected" | "released";
  /** None where a release came before its order. */
  kitchen: string | null;
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
  /** What was asked for and not answered, once for a key. */
  const unresolved = new Map<string | number, string>();
  for (const operation of checked.operations) {
    if (operation.kind !== "place_order") continue;
    verdict.attempted += 1;
    const { code = "", key, outcome, order_id: orderId } = operation;
    if (outcome === "ok") verdict.acknowledged += 1;
    if (outcome === "failed") verdict.refused += 1;
    if (outcome === "unknown") verdict.unknown += 1;
    // An answer to another try with the same key tells which order it was.
    if (outcome === "unknown" && !byKey.has(key ?? "")) {
      unresolved.set(key ?? operation.id, whatOf(operation.request as PlaceOrder));
    }
    if (orderId === undefined) {
      if (outcome === "ok") verdict.lost.push(`operation ${operation.id}: no order id`);
      continue;
    }
    const order = stored.get(orderId);
    if (outcome !== "unknown") known.add(orderId);
    if (outcome === "ok" && !terminal(order) && !dead.has(orderId)) verdict.lost.push(orderId);
    // A key that came before with another body names that body's order.
    if (order && code !== "idempotency_key_reused") {
      if (orderedBy(order) !== whatOf(operation.request as PlaceOrder)) {
        verdict.contradicted.push(orderId);
      }
    }
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
  const asked = Map.groupBy(unresolved.values(), (what) => what);
  const unasked = [...stored.values()].filter(
    (order) => !known.has(order.order_id) && asked.get(orderedBy(order))?.pop() === undefined,
  );
  if (unasked.length > (checked.others ?? 0)) {
    verdict.unexpected.push(...unasked.map((order) => order.order_id));
  }
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
  checkContents(checked, stored, reservations, verdict);
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
  verdict.unfinished.push(...(checked.unfinished ?? []));
  verdict.contradicted = [...new Set(verdict.contradicted)];
  return verdict;
}

/** Whether a request asks for something that can't be had anywhere on the campus. */
export function isOffMenu({ kitchen = DEFAULT_KITCHEN, items }: PlaceOrder): boolean {
  return !KITCHENS.includes(kitchen) || items.some(({ sku }) => !SKUS.includes(sku));
}

/** Who wants what from where, to be compared. */
function whatOf({ user_id, kitchen = DEFAULT_KITCHEN, items }: PlaceOrder): string {
  return JSON.stringify([user_id, kitchen, items.map(({ sku, qty }) => [sku, qty])]);
}

function orderedBy({ user_id, kitchen, items }: OrderRow): string {
  return whatOf({ user_id, kitchen, items: JSON.parse(items) as OrderItem[] });
}

/** What is reserved is what was ordered, and who fails has a reason that the order explains. */
function checkContents(
  { model, openingStock = OPENING_STOCK }: Checked,
  stored: Map<string, OrderRow>,
  reservations: Map<string, ReservationRow>,
  verdict: Verdict,
): void {
  // Stock only falls, but for what is given back: an order that found too little
  // would find too little now, if nothing had been given back.
  const taken = unitsOf(reservations, ["reserved", "released"]);
  for (const [orderId, order] of stored) {
    const { kitchen, reason, status, user_id } = order;
    const items = JSON.parse(order.items) as OrderItem[];
    const held = reservations.get(orderId);
    if (held && held.kitchen !== null) {
      const reserved = {
        user_id,
        kitchen: held.kitchen,
        items: JSON.parse(held.items) as OrderItem[],
      };
      if (whatOf(reserved) !== orderedBy(order)) verdict.contradicted.push(orderId);
    }
    const known = KITCHENS.includes(kitchen);
    const offMenu = isOffMenu({ user_id, kitchen, items });
    const explained: Record<string, boolean> = {
      unknown_kitchen: !known,
      unknown_item: known && offMenu,
      out_of_stock:
        known &&
        items.some(({ sku, qty }) => openingStock - (taken.get(`${kitchen} ${sku}`) ?? 0) < qty),
    };
    if (status === "failed") {
      const why = reason ?? "";
      if (!explained[why] && !GIVEN_UP[model].includes(why)) verdict.contradicted.push(orderId);
    } else if (status !== "placed" && offMenu) verdict.contradicted.push(orderId);
  }
}

/** Units of the reservations in those states, by kitchen and sku. */
function unitsOf(
  reservations: Map<string, ReservationRow>,
  states: readonly ReservationRow["state"][],
): Map<string, number> {
  const units = new Map<string, number>();
  for (const { state, kitchen, items } of reservations.values()) {
    if (!states.includes(state)) continue;
    for (const { sku, qty } of JSON.parse(items) as OrderItem[]) {
      const at = `${kitchen} ${sku}`;
      units.set(at, (units.get(at) ?? 0) + qty);
    }
  }
  return units;
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
  const held = unitsOf(reservations, ["reserved"]);
  const left = read<{ kitchen: string; sku: string; quantity: number }>(
    { database: inventory },
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
  const rows = read<OrderRow>(
    { database: path },
    `SELECT order_id, user_id, kitchen, items, status, reason,
       (SELECT group_concat(status) FROM order_steps s WHERE s.order_id = o.order_id) AS steps
     FROM orders o`,
  );
  return new Map(rows.map((row) => [row.order_id, row]));
}

function readReservations(path: string): Map<string, ReservationRow> {
  const rows = read<ReservationRow>(
    { database: path },
    "SELECT order_id, state, kitchen, items FROM reservations",
  );
  return new Map(rows.map((row) => [row.order_id, row]));
}

/** How often each customer was told; undefined where the model tells nobody. */
function readConfirmations(path: string | undefined): Map<string, number> | undefined {
  if (path === undefined) return undefined;
  const rows = read<{ order_id: string; n: number }>(
    { database: path },
    "SELECT order_id, count(*) AS n FROM notifications GROUP BY order_id",
  );
  return new Map(rows.map(({ order_id, n }) => [order_id, n]));
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
    unfinished: [],
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
