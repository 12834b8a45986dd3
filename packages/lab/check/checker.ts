import { digestOf, type OrderPlaced } from "@lab/contracts/events";
import type { PlaceOrder, RejectReason } from "@lab/contracts/order";
import { DEFAULT_KITCHEN, KITCHENS, OPENING_STOCK, SKUS } from "@lab/workflow/menu";
import { type Counter, type Metrics, metricsOf } from "@lab/workflow/metrics";
import type { Model } from "@lab/evidence/evidence";
import type { Operation } from "../load/history.ts";
import { factsOf } from "../brokers/model-facts.ts";
import { type Files, readStored, shelf, type Stored, type StoredOrder } from "./stored.ts";

/** Refusals that imply nothing about the outcome of the order that they name. */
const SAYS_NOTHING = ["order_in_progress", "idempotency_key_reused", "store_unavailable"];

/** The violations, illegal in every model. Order ids, unless stated otherwise. */
export interface Violations {
  /** Acknowledged to the client, and without a terminal state, or answered with another client's order; as text where there is no id. */
  lost: string[];
  /** Stored, not acknowledged, and without a terminal state. */
  stuck: string[];
  /**
   * An effect that occurred twice: more than one confirmation, more than one order for a client's
   * key.
   */
  doubled: string[];
  /**
   * Its event was taken for a duplicate of another with the same id, and had no effect, silently.
   */
  swallowed: string[];
  /** More reserved than the stock: kitchen and sku. */
  oversold: string[];
  /** Stock held for an order that failed or was never stored. */
  leaked: string[];
  /**
   * The client or a neighbour was told something that the store contradicts; or it failed without a
   * reason.
   */
  contradicted: string[];
  /** Failed after another outcome, or another outcome after it failed. */
  resurrected: string[];
  /**
   * Processed before an order of the same kitchen that was placed earlier, where the order is
   * promised.
   */
  reordered: string[];
  /**
   * Stored, although no client has asked for it, and no request with an unknown outcome can explain
   * it.
   */
  unexpected: string[];
  /** Opening stock is not the sum of the remaining and the reserved: kitchen, sku and units. */
  unbalanced: string[];
  /** A metric that differs from the orders: its name, and both numbers. */
  miscounted: string[];
  /**
   * A metric of Analytics that has decreased: its name, and both numbers. Events are never
   * withdrawn.
   */
  worsened: string[];
  /** Its message was tried more often than the limit allows. */
  endless: string[];
  /** Generations of metrics that a replay computed, and that differ from the previous ones. */
  unequal: string[];
  /** Pending work when nothing had changed for long: kind and amount. */
  unfinished: string[];
  /** The same, where every service reported to be healthy and to have no pending work. */
  unnoticed: string[];
}

export interface Verdict extends Violations {
  attempted: number;
  acknowledged: number;
  /** Answered with a definite "no". */
  refused: number;
  unknown: number;
  reserved: number;
  confirmed: number;
  failed: number;
  /** Abandoned, with their stock released or never taken. */
  released: number;
  /** Requested without an answer, and in a terminal state since: reported, but legal. */
  recovered: string[];
  /**
   * A message of theirs is in a dead queue, so that they may lack a terminal state: reported, but
   * legal.
   */
  dead: string[];
  stock_difference_units: number;
}

export interface Checked extends Files {
  model: Model;
  /** The client's history: every operation of kind `place_order`. */
  operations: readonly Operation[];
  /** Ids of the orders with a message in a dead queue or topic. */
  dead?: readonly string[];
  /** Events that another program than the order service has sent to Inventory. */
  heard?: readonly OrderPlaced[];
  /** What Analytics shows, where there is one. */
  metrics?: Counts;
  /** Its earlier metrics, oldest first. */
  shown?: readonly Counts[];
  /** The last finished replay. */
  replay?: { generation: number; digest_before: string | null; digest_after: string | null };
  /** How often the message of an order was tried, for those that were retried. */
  attempts?: ReadonlyMap<string, number>;
  /** Units of everything in every kitchen at the start. */
  openingStock?: number;
  /** Pending work, as text. */
  unfinished?: readonly string[];
  /** Stuck work that no `/health` reported, as text. */
  unnoticed?: readonly string[];
}

/** The metrics that don't depend on time. */
type Counts = Pick<Metrics, "placed" | "reserved" | "failed" | "kitchens" | "failures_by_reason">;

/**
 * Checks the client's answers against what the services have stored, order by order. Call it when
 * all work is done: an order still in progress counts as lost.
 */
export function checkOrders(checked: Checked): Verdict {
  const verdict = emptyVerdict();
  const stored = readStored(checked.model, checked);
  checkAnswers(checked, stored, verdict);
  checkOrigins(checked, stored, verdict);
  checkSteps(checked, stored, verdict);
  checkConfirmations(stored, verdict);
  checkReservations(checked, stored, verdict);
  checkStock(checked, stored, verdict);
  checkSequence(stored, verdict);
  checkIds(checked, stored, verdict);
  checkMetrics(checked, stored, verdict);
  checkGrowth(checked, verdict);
  for (const [orderId, count] of checked.attempts ?? []) {
    if (count > factsOf(checked.model).maxAttempts) verdict.endless.push(orderId);
  }
  const { replay } = checked;
  if (replay && replay.digest_after !== replay.digest_before) {
    verdict.unequal.push(`generation ${replay.generation}`);
  }
  verdict.unfinished.push(...(checked.unfinished ?? []));
  verdict.unnoticed.push(...(checked.unnoticed ?? []));
  verdict.contradicted = [...new Set(verdict.contradicted)];
  return verdict;
}

/** Whether a request asks for a kitchen or an item that doesn't exist on the campus. */
export function isOffMenu({ kitchen = DEFAULT_KITCHEN, items }: PlaceOrder): boolean {
  return !KITCHENS.includes(kitchen) || items.some(({ sku }) => !SKUS.includes(sku));
}

/** The content of a request or order, in comparable form. */
function whatOf({ user_id, kitchen = DEFAULT_KITCHEN, items }: PlaceOrder): string {
  return JSON.stringify([user_id, kitchen, items.map(({ sku, qty }) => [sku, qty])]);
}

function isPlaceOrder({ kind }: Operation): boolean {
  return kind === "place_order";
}

/** Identifies the requester: all requests of a client with the same key ask for one order. */
function askerOf({ id, key }: Operation): string | number {
  return key ?? id;
}

function hasEnded(model: Model, { status }: StoredOrder): boolean {
  return status === "failed" || status === factsOf(model).success;
}

/** Whether an order has failed before any other service knew of it: its key may be used again. */
function failedWithoutEffect(order: StoredOrder | undefined): boolean {
  return order?.reason === "inventory_unreachable";
}

/** Each answer must be true of the order that it names, and of no other client's. */
function checkAnswers(
  { dead = [], model, operations }: Checked,
  { orders }: Stored,
  verdict: Verdict,
): void {
  const askers = new Map<string, Set<string | number>>();
  const answers = new Map<string, Set<string>>();
  for (const operation of operations.filter(isPlaceOrder)) {
    const { code = "", key, outcome, order_id: orderId, status } = operation;
    verdict.attempted += 1;
    if (outcome === "ok") verdict.acknowledged += 1;
    if (outcome === "failed") verdict.refused += 1;
    if (outcome === "unknown") verdict.unknown += 1;
    if (orderId === undefined) {
      if (outcome === "ok") verdict.lost.push(`operation ${operation.id}: no order id`);
      continue;
    }
    if (key !== undefined) answers.set(key, (answers.get(key) ?? new Set()).add(orderId));
    const order = orders.get(orderId);
    const ended = order !== undefined && hasEnded(model, order);
    if (outcome === "ok" && !ended && !dead.includes(orderId)) verdict.lost.push(orderId);
    // A reused key with another body names the first body's order.
    if (code === "idempotency_key_reused") continue;
    askers.set(orderId, (askers.get(orderId) ?? new Set()).add(askerOf(operation)));
    if (order === undefined) continue;
    // 201 means that it is reserved. A refusal means that it has failed, and gives the reason.
    const failed = order.status === "failed";
    const isTrue =
      whatOf(order) === whatOf(operation.request as PlaceOrder) &&
      (status !== 201 || !failed) &&
      (outcome !== "failed" || SAYS_NOTHING.includes(code) || order.reason === code);
    if (!isTrue) verdict.contradicted.push(orderId);
  }
  for (const [orderId, { size }] of askers) {
    // Two requesters got the same order: the other order is missing.
    if (size > 1) verdict.lost.push(orderId);
  }
  for (const orderIds of answers.values()) {
    const ones = [...orderIds].filter((orderId) => !failedWithoutEffect(orders.get(orderId)));
    if (ones.length > 1) verdict.doubled.push(...ones);
  }
}

/**
 * Every order was requested: by an operation that names it, by a bulk stream, or by an operation
 * without an answer.
 */
function checkOrigins(
  { dead = [], model, operations }: Checked,
  { orders, streamed }: Stored,
  verdict: Verdict,
): void {
  const placing = operations.filter(isPlaceOrder);
  const named = new Set(
    placing.filter(({ outcome }) => outcome !== "unknown").map(({ order_id }) => order_id),
  );
  // The answer to another attempt with the same key identifies the order.
  const known = new Set(placing.filter(({ order_id }) => order_id !== undefined).map(askerOf));
  const unresolved = new Map(
    placing
      .filter((operation) => operation.outcome === "unknown" && !known.has(askerOf(operation)))
      .map((operation) => [askerOf(operation), whatOf(operation.request as PlaceOrder)]),
  );
  const unanswered = new Set(
    placing
      .filter(({ outcome }) => outcome === "unknown")
      .map(({ request }) => whatOf(request as PlaceOrder)),
  );
  const ofStreams = Map.groupBy(streamed.map(whatOf), (what) => what);
  const asked = Map.groupBy(unresolved.values(), (what) => what);
  for (const [orderId, order] of orders) {
    if (named.has(orderId)) continue;
    const ended = hasEnded(model, order);
    if (!ended && !dead.includes(orderId)) verdict.stuck.push(orderId);
    const what = whatOf(order);
    // Orders of a stream must be stored, those without an answer may be.
    if (ofStreams.get(what)?.pop() !== undefined) continue;
    // Its client had no answer, and another order has taken over its key.
    if (failedWithoutEffect(order) && unanswered.has(what)) continue;
    if (asked.get(what)?.pop() === undefined) verdict.unexpected.push(orderId);
    else if (ended) verdict.recovered.push(orderId);
  }
  for (const what of [...ofStreams.values()].flat()) verdict.lost.push(`of a stream: ${what}`);
}

/** Checks each order's steps. */
function checkSteps({ dead = [] }: Checked, { orders }: Stored, verdict: Verdict): void {
  verdict.dead.push(...new Set(dead.filter((orderId) => orders.has(orderId))));
  for (const [orderId, { status, steps }] of orders) {
    if (status === "reserved") verdict.reserved += 1;
    if (status === "confirmed") verdict.confirmed += 1;
    if (status === "failed") verdict.failed += 1;
    if (steps.includes("failed") && steps.some((step) => step !== "placed" && step !== "failed")) {
      verdict.resurrected.push(orderId);
    }
  }
}

/** The customer of every confirmed order gets one confirmation, of that order. */
function checkConfirmations({ confirmations, orders }: Stored, verdict: Verdict): void {
  if (confirmations === undefined) return;
  for (const [orderId, { kitchen, status, user_id }] of orders) {
    const told = confirmations.get(orderId) ?? [];
    const isTrue =
      (status === "confirmed") === told.length > 0 &&
      told.every(({ text, user_id: whom }) => whom === user_id && text.includes(kitchen));
    if (!isTrue) verdict.contradicted.push(orderId);
  }
  for (const [orderId, { length }] of confirmations) {
    if (length > 1) verdict.doubled.push(orderId);
    if (!orders.has(orderId)) verdict.contradicted.push(orderId);
  }
}

/** Reservations match the orders, and rejections have a valid reason. */
function checkReservations(
  { model, openingStock = OPENING_STOCK }: Checked,
  { orders, reservations }: Stored,
  verdict: Verdict,
): void {
  const heldAt = holdings(reservations);
  for (const [orderId, held] of reservations) {
    const { at, items, kitchen, reason, state } = held;
    const order = orders.get(orderId);
    if (state === "released") verdict.released += 1;
    if (state === "reserved" && (!order || order.status === "failed")) verdict.leaked.push(orderId);
    const known = kitchen !== null && KITCHENS.includes(kitchen);
    const offMenu = items.some(({ sku }) => !SKUS.includes(sku));
    const explains: Record<RejectReason, () => boolean> = {
      unknown_kitchen: () => !known,
      unknown_item: () => known && offMenu,
      out_of_stock: () =>
        known && items.some(({ sku, qty }) => openingStock - heldAt(shelf(kitchen, sku), at) < qty),
      // Its reservation is stored as released, not as rejected.
      order_released: () => false,
    };
    // Whether the stock was enough shows below: what else is held says nothing about a yes.
    const { out_of_stock: _, ...againstYes } = explains;
    const isTrue =
      (kitchen === null || !order || whatOf({ ...order, kitchen, items }) === whatOf(order)) &&
      (state === "rejected"
        ? explains[reason as RejectReason]()
        : kitchen === null || !Object.values(againstYes).some((isSo) => isSo()));
    if (!isTrue) verdict.contradicted.push(orderId);
  }
  const givenUp: readonly string[] = factsOf(model).givenUp;
  for (const [orderId, { reason, status }] of orders) {
    const held = reservations.get(orderId);
    const isTrue: Record<StoredOrder["status"], boolean> = {
      placed: true,
      reserved: held?.state === "reserved",
      confirmed: held?.state === "reserved",
      failed:
        givenUp.includes(reason ?? "") || (held?.state === "rejected" && held.reason === reason),
    };
    if (!isTrue[status]) verdict.contradicted.push(orderId);
  }
}

/**
 * The most units of a shelf that may have been held at a moment: released ones may have been held
 * until their release.
 */
function holdings(reservations: Stored["reservations"]): (shelf: string, at: string) => number {
  const takings = [...reservations.values()]
    .filter(({ state }) => state !== "rejected")
    .flatMap(({ at, items, kitchen, state }) =>
      items.map(({ sku, qty }) => ({
        shelf: shelf(kitchen as string, sku),
        held: (then: string) => (state === "reserved" ? at <= then : at >= then),
        qty,
      })),
    );
  const byShelf = Map.groupBy(takings, (taking) => taking.shelf);
  return (where, then) =>
    (byShelf.get(where) ?? []).reduce((sum, { held, qty }) => sum + (held(then) ? qty : 0), 0);
}

/** The violations that were found; `{}` when there are none. */
export function violations(verdict: Verdict): Partial<Violations> {
  return Object.fromEntries(
    Object.entries(noViolations())
      .map(([name]) => [name, verdict[name as keyof Violations]] as const)
      .filter(([, found]) => found.length > 0),
  );
}

/** Conservation of stock: remaining and reserved units add up to the opening stock. */
function checkStock(
  { openingStock = OPENING_STOCK }: Checked,
  { reservations, stock }: Stored,
  verdict: Verdict,
): void {
  const held = new Map<string, number>();
  for (const { items, kitchen, state } of reservations.values()) {
    if (state !== "reserved") continue;
    for (const { sku, qty } of items) {
      const at = shelf(kitchen as string, sku);
      held.set(at, (held.get(at) ?? 0) + qty);
    }
  }
  const menu = new Set(KITCHENS.flatMap((kitchen) => SKUS.map((sku) => shelf(kitchen, sku))));
  for (const at of new Set([...menu, ...stock.keys(), ...held.keys()])) {
    const opening = menu.has(at) ? openingStock : 0;
    const difference = (stock.get(at) ?? 0) + (held.get(at) ?? 0) - opening;
    if ((held.get(at) ?? 0) > opening) verdict.oversold.push(at);
    if (difference === 0) continue;
    verdict.unbalanced.push(`${at}: ${difference}`);
    verdict.stock_difference_units += Math.abs(difference);
  }
}

/** Where that is promised, a kitchen's orders are processed in the order in which they were placed. */
function checkSequence({ worked }: Stored, verdict: Verdict): void {
  const latest = new Map<string, string>();
  for (const { at, kitchen, order_id } of worked) {
    const before = latest.get(kitchen) ?? "";
    if (at < before) verdict.reordered.push(order_id);
    else latest.set(kitchen, at);
  }
}

/** One id and source identify one event; another with the same is dead-lettered. */
function checkIds(
  { dead = [], heard = [] }: Checked,
  { ids, published }: Stored,
  verdict: Verdict,
): void {
  for (const event of [...published, ...heard]) {
    const digest = ids.get(event.id)?.get(event.source);
    const isAnother = digest !== undefined && digest !== digestOf(event);
    if (isAnother && !dead.includes(event.subject)) verdict.swallowed.push(event.subject);
  }
}

/** The metrics must match the orders, by kitchen and by reason. */
function checkMetrics({ metrics }: Checked, { orders }: Stored, verdict: Verdict): void {
  if (metrics === undefined) return;
  const counters = [...orders.values()].flatMap(({ kitchen, reason, status }): Counter[] => [
    { metric: "placed", kitchen, bucket: "", n: 1 },
    ...(status === "reserved" ? [{ metric: status, kitchen, bucket: "", n: 1 }] : []),
    ...(status === "failed" ? [{ metric: status, kitchen, bucket: reason ?? "", n: 1 }] : []),
  ]);
  const shown = countsOf(metrics);
  const right = countsOf(metricsOf(counters));
  for (const name of new Set([...shown.keys(), ...right.keys()])) {
    const [is, should] = [shown.get(name) ?? 0, right.get(name) ?? 0];
    if (is !== should) verdict.miscounted.push(`${name}: ${is}, not ${should}`);
  }
}

/** Analytics may lag, but its counts must never decrease. */
function checkGrowth({ metrics, shown = [] }: Checked, verdict: Verdict): void {
  let before = new Map<string, number>();
  for (const counts of [...shown, ...(metrics ? [metrics] : [])]) {
    const now = countsOf(counts);
    for (const [name, n] of before) {
      const is = now.get(name) ?? 0;
      if (is < n) verdict.worsened.push(`${name}: ${n}, then ${is}`);
    }
    before = now;
  }
}

function countsOf({ failures_by_reason, kitchens, ...totals }: Counts): Map<string, number> {
  const named = (of: Record<string, number>, prefix = "") =>
    Object.entries(of).map(([name, n]) => [`${prefix}${name}`, n] as const);
  const { failed, placed, reserved } = totals;
  return new Map([
    ...named({ failed, placed, reserved }),
    ...named(failures_by_reason, "failed for "),
    ...Object.entries(kitchens).flatMap(([kitchen, own]) =>
      named({ failed: own.failed, placed: own.placed, reserved: own.reserved }, `${kitchen} `),
    ),
  ]);
}

function noViolations(): Violations {
  return {
    lost: [],
    stuck: [],
    doubled: [],
    swallowed: [],
    oversold: [],
    leaked: [],
    contradicted: [],
    resurrected: [],
    reordered: [],
    unexpected: [],
    unbalanced: [],
    miscounted: [],
    worsened: [],
    endless: [],
    unequal: [],
    unfinished: [],
    unnoticed: [],
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
