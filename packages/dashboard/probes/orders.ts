// How the orders of a model stand, from Order's own database.
import type { OrderStatus } from "@lab/contracts/order";
import { factsOf, type ModelFacts } from "@lab/lab/brokers/model-facts";
import { read } from "@lab/lab/probes/databases";
import type { Model } from "@lab/evidence/evidence";
import type { Percentiles } from "../contract/frame.ts";

const MINUTE_MS = 60_000;
/** Orders become visible in another order than their ids are made in. */
const SLACK_MS = 2_000;

export interface KnownOrder {
  order_id: string;
  status: OrderStatus;
  reason: string | null;
  placed_ms: number;
  ended_ms: number | null;
}

interface Row {
  order_id: string;
  status: OrderStatus;
  reason: string | null;
  placed_at: string;
  at: string | null;
}

/** The orders of the last minute, and those without an end. Nothing else is kept. */
export class OrderBook {
  readonly #facts: ModelFacts;
  readonly #orders = new Map<string, KnownOrder>();
  readonly #startMs = Date.now();
  /** When the page's own customers have sent them. */
  readonly #sent = new Map<string, number>();
  #seenMs = Date.now() - SLACK_MS;

  constructor(model: Model) {
    this.#facts = factsOf(model);
  }

  /** A customer of this page has sent that order: it has waited since. */
  sent(orderId: string, ms: number): void {
    if (!this.#sent.has(orderId)) this.#sent.set(orderId, ms);
  }

  /** From the request, or where it isn't the page's own from when it was stored; null without an end. */
  durationOf(orderId: string): number | null {
    const known = this.#orders.get(orderId);
    if (known === undefined || known.ended_ms === null) return null;
    return known.ended_ms - (this.#sent.get(orderId) ?? known.placed_ms);
  }

  /** Reads what is new; returns the orders that have ended since the last look. */
  look(database: string): KnownOrder[] {
    const nowMs = Date.now();
    const oldest = Math.min(this.#seenMs - SLACK_MS, ...this.#open().map((one) => one.placed_ms));
    const rows = read<Row>(
      { database },
      `SELECT order_id, status, reason, placed_at,
         (SELECT s.at FROM order_steps s
          WHERE s.order_id = o.order_id AND s.status = o.status) AS at
       FROM orders o WHERE order_id >= ?`,
      firstId(oldest),
    );
    const ended: KnownOrder[] = [];
    for (const row of rows) {
      const { order_id, reason, status } = row;
      const known = this.#orders.get(order_id);
      if (known !== undefined && known.ended_ms !== null) continue;
      const isOver = status === "failed" || status === this.#facts.success;
      const one: KnownOrder = {
        order_id,
        status,
        reason,
        placed_ms: Date.parse(row.placed_at),
        ended_ms: isOver ? Date.parse(row.at ?? row.placed_at) : null,
      };
      this.#orders.set(order_id, one);
      if (isOver && one.ended_ms! > this.#startMs - SLACK_MS) ended.push(one);
    }
    this.#seenMs = nowMs;
    for (const [id, { ended_ms, placed_ms }] of this.#orders) {
      if (ended_ms !== null && Math.max(ended_ms, placed_ms) < nowMs - MINUTE_MS - SLACK_MS) {
        this.#orders.delete(id);
      }
    }
    for (const [id, ms] of this.#sent) {
      if (ms < nowMs - MINUTE_MS && !this.#orders.has(id)) this.#sent.delete(id);
    }
    return ended;
  }

  /** The order whose id ends so; undefined where it is too long ago. */
  find(suffix: string): string | undefined {
    return [...this.#orders.keys()].find((id) => id.endsWith(suffix));
  }

  get(orderId: string): KnownOrder | undefined {
    return this.#orders.get(orderId);
  }

  /** Whether it is known, and has ended. */
  hasEnded(orderId: string | undefined): boolean {
    const ended = this.#orders.get(orderId ?? "")?.ended_ms;
    return ended !== undefined && ended !== null;
  }

  /** Of the last minute. */
  stats() {
    const since = Date.now() - MINUTE_MS;
    const durations: number[] = [];
    const stats = { placed: 0, per_minute: 0, failed: 0, open: 0, reserved: 0 };
    for (const { ended_ms, order_id, placed_ms, status } of this.#orders.values()) {
      if (placed_ms >= since) stats.placed += 1;
      if (ended_ms === null) {
        stats.open += 1;
        if (status === "reserved") stats.reserved += 1;
      } else if (ended_ms >= since) {
        stats.per_minute += 1;
        if (status === "failed") stats.failed += 1;
        durations.push(ended_ms - (this.#sent.get(order_id) ?? placed_ms));
      }
    }
    return { ...stats, end: percentiles(durations) };
  }

  #open(): KnownOrder[] {
    return [...this.#orders.values()].filter(({ ended_ms }) => ended_ms === null);
  }
}

/** Null for none; milliseconds. */
export function percentiles(values: readonly number[]): Percentiles | null {
  if (values.length === 0) return null;
  const sorted = Float64Array.from(values).toSorted();
  const at = (share: number) =>
    Math.round(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))]! * 10) / 10;
  return { p50: at(0.5), p95: at(0.95), p99: at(0.99) };
}

/** The smallest UUIDv7 of that moment: its first 48 bits are the time. */
function firstId(ms: number): string {
  const hex = Math.max(0, Math.floor(ms)).toString(16).padStart(12, "0");
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
}
