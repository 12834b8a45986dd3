// Orders that the page places: one in each model, a burst, a steady rate.
import type { PlaceOrder } from "@lab/contracts/order";
import type { Model } from "@lab/evidence/evidence";
import { type History, type Outcome } from "@lab/lab/load/history";
import { closedLoop, openLoop, placeOrder, seededOrder } from "@lab/lab/load/load";
import { type Percentiles } from "../contract/frame.ts";
import { percentiles } from "../probes/orders.ts";

const MINUTE_MS = 60_000;
/** Longer than any timeout of a service: what a customer is told comes from the service. */
const TIMEOUT_MS = 30_000;
/** Customers of a burst at a time. */
const BURST_CONNECTIONS = 48;
/** The same orders come to each model, so that what differs is the model. */
const SEED = Math.floor(Math.random() * 1_000_000);

interface Answer {
  at_ms: number;
  ms: number;
  told: string;
  refused: boolean;
}

/** A sent order, to be sent again by the same customer. */
export interface Sent {
  order: PlaceOrder;
  key: string;
  order_id: string | undefined;
}

/** The customers of one model. */
export class Customers {
  readonly model: Model;
  readonly history: History;
  /** The order that was placed last. */
  last: Sent | undefined;
  waiting = 0;
  #answers: Answer[] = [];
  #n = 0;
  #steady = new AbortController();
  readonly #onSent: (orderId: string, ms: number) => void;

  /** `onSent` is called with each order's id, once that is known, and when it was sent. */
  constructor(model: Model, history: History, onSent: (orderId: string, ms: number) => void) {
    this.model = model;
    this.history = history;
    this.#onSent = onSent;
  }

  /** Places one order and returns what the customer was told; never throws. */
  async place(
    url: string,
    order?: PlaceOrder,
    key: string = crypto.randomUUID(),
  ): Promise<Outcome> {
    const asked = order ?? seededOrder(SEED, this.#n++);
    const startMs = performance.now();
    const sentMs = Date.now();
    this.waiting += 1;
    try {
      const outcome = await placeOrder(url, asked, {
        history: this.history,
        timeoutMs: TIMEOUT_MS,
        headers: { "idempotency-key": key },
      });
      const { kind, order_id } = outcome;
      if (order_id !== undefined) {
        this.last = { order: asked, key, order_id };
        this.#onSent(order_id, sentMs);
      }
      this.#answers.push({
        at_ms: Date.now(),
        ms: performance.now() - startMs,
        told: toldBy(outcome),
        refused: kind !== "ok",
      });
      return outcome;
    } finally {
      this.waiting -= 1;
    }
  }

  burst(url: string, count: number): Promise<unknown> {
    const connections = Math.min(count, BURST_CONNECTIONS);
    return closedLoop({ count, connections, send: () => this.place(url) });
  }

  /** Until the next call; 0 is none. */
  steady(url: string, perMinute: number): void {
    this.#steady.abort();
    this.#steady = new AbortController();
    if (perMinute === 0) return;
    const { signal } = this.#steady;
    openLoop({
      ratePerS: perMinute / 60,
      count: 10_000_000,
      exact: false,
      send: () => this.place(url),
      signal,
    }).catch((error: unknown) => {
      // An order that was under way when the page ended is in no history any more.
      if (!signal.aborted) throw error;
    });
  }

  /** Of the last minute. */
  stats(): { answer: Percentiles | null; told: [string, number][]; refused: number; all: number } {
    const since = Date.now() - MINUTE_MS;
    const first = this.#answers.findIndex(({ at_ms }) => at_ms >= since);
    this.#answers.splice(0, first === -1 ? this.#answers.length : first);
    const told = Map.groupBy(this.#answers, (one) => one.told);
    return {
      answer: percentiles(this.#answers.map(({ ms }) => ms)),
      told: [...told]
        .map(([what, { length }]): [string, number] => [what, length])
        .toSorted((a, b) => b[1] - a[1])
        .slice(0, 4),
      refused: this.#answers.filter(({ refused }) => refused).length,
      all: this.#answers.length,
    };
  }
}

/** What the customer sees: `201 confirmed`, `503 inventory_unreachable`, `no answer: timeout`. */
export function toldBy({ body, code, kind, status }: Outcome): string {
  if (status === undefined) return `no answer: ${code ?? kind}`;
  const said = (body as { status?: unknown } | undefined)?.status;
  return [status, code ?? (typeof said === "string" ? said : "")].join(" ").trim();
}
