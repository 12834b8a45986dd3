// Where the orders are, from the lines that each service writes to its own log as it works.
import type { Model } from "@lab/evidence/evidence";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { type Hop, MOST_DOTS, type Station, STATIONS } from "../contract/frame.ts";

/** A line of a service's log. */
export interface LogLine {
  time: string;
  service: string;
  event: string;
  order_id?: string;
  [field: string]: unknown;
}

interface Arrival {
  order: string;
  station: Station;
  at_ms: number;
}

/** A frame has room for so many arrivals of each model. */
const MOST_HOPS = 90;
/** At most so much of a log is read at once: a page that can't keep up shows fewer dots. */
const MOST_BYTES = 1 << 20;

/** Follows a model's logs from now on. */
export class Trails {
  readonly #model: Model;
  readonly #files = new Map<string, { offset: number; rest: string }>();
  /** The open orders, with their last station. */
  readonly #places = new Map<string, Arrival>();
  #arrivals: Arrival[] = [];

  constructor(model: Model) {
    this.#model = model;
  }

  /** Reads what the services have written since. */
  follow(files: readonly string[]): void {
    for (const file of files) {
      for (const line of this.#read(file)) {
        for (const arrival of arrivalsOf(this.#model, line)) this.#arrive(arrival);
      }
    }
  }

  /** An order has ended, as its database says. */
  end(order: string, station: "done" | "failed", at_ms: number): void {
    this.#arrive({ order, station, at_ms });
  }

  /** One dot stands for so many orders. */
  get scale(): number {
    const orders = this.#places.size;
    return orders > MOST_DOTS * 10 ? 100 : orders > MOST_DOTS ? 10 : 1;
  }

  /** The arrivals since the last call. */
  take(nowMs: number): Hop[] {
    const { scale } = this;
    const shown = this.#arrivals.filter(({ order }) => isShown(order, scale));
    this.#arrivals = [];
    return shown.slice(-MOST_HOPS).map((one) => hopOf(one, nowMs));
  }

  /** Where the open orders are now. */
  places(nowMs: number): Hop[] {
    const { scale } = this;
    return [...this.#places.values()]
      .filter(({ order }) => isShown(order, scale))
      .map((one) => hopOf(one, nowMs));
  }

  #arrive(arrival: Arrival): void {
    this.#arrivals.push(arrival);
    const { order, station } = arrival;
    if (station === "done" || station === "failed") this.#places.delete(order);
    else this.#places.set(order, arrival);
    // A database may end an order before its log lines are read: those must not stay for ever.
    if (this.#places.size > 50_000) this.#places.clear();
  }

  *#read(file: string): Iterable<LogLine> {
    const size = statSync(file, { throwIfNoEntry: false })?.size;
    if (size === undefined) return;
    const known = this.#files.get(file);
    // What was written before the page came up isn't played; a fresh start begins a new file.
    const state = known ?? { offset: size, rest: "" };
    if (size < state.offset) Object.assign(state, { offset: 0, rest: "" });
    this.#files.set(file, state);
    if (size === state.offset) return;
    const from = Math.max(state.offset, size - MOST_BYTES);
    const text = state.rest + textOf(file, from, size);
    state.offset = size;
    const lines = text.split("\n");
    state.rest = lines.pop() ?? "";
    for (const line of lines) {
      const parsed = lineOf(line);
      if (parsed !== undefined) yield parsed;
    }
  }
}

/** A line of a log; undefined for what isn't the lab's own. */
export function lineOf(line: string): LogLine | undefined {
  if (!line.startsWith("{")) return undefined;
  try {
    return JSON.parse(line) as LogLine;
  } catch {
    return undefined;
  }
}

/** What a line says about where an order is. */
function arrivalsOf(model: Model, line: LogLine): Arrival[] {
  const { event, order_id: order, service, time } = line;
  if (order === undefined) return [];
  const [first, second] = factsOf(model).services;
  const at = (station: Station, at_ms = Date.parse(time)): Arrival => ({ order, station, at_ms });
  const own: Station =
    service === first ? "order" : service === second ? "inventory" : "downstream";
  const after: Station = own === "order" ? "first-wait" : "second-wait";
  const atMs = typeof line["at_us"] === "number" ? line["at_us"] / 1_000 : Date.parse(time);
  switch (event) {
    case "span_begun":
      if (line["kind"] === "server" || line["kind"] === "consumer") return [at(own, atMs)];
      if (own === "downstream") return [];
      return line["kind"] === "producer" || line["kind"] === "client" ? [at(after, atMs)] : [];
    case "order_placed":
      return [at("order"), at("first-wait")];
    case "stock_decided": {
      const isGood = line["says"] === "InventoryReserved" || line["kind"] === "reserved";
      return [at("inventory"), ...(isGood ? [at("second-wait")] : [])];
    }
    case "customer_told":
      return [at("downstream")];
    default:
      return [];
  }
}

function hopOf({ at_ms, order, station }: Arrival, nowMs: number): Hop {
  return [order.slice(-8), STATIONS.indexOf(station), Math.round(nowMs - at_ms)];
}

/** Every tenth or hundredth order, the same ones at all stations. */
function isShown(order: string, scale: number): boolean {
  return scale === 1 || Number.parseInt(order.slice(-6), 16) % scale === 0;
}

function textOf(file: string, from: number, to: number): string {
  const bytes = Buffer.alloc(to - from);
  const open = openSync(file, "r");
  try {
    return bytes.subarray(0, readSync(open, bytes, 0, bytes.length, from)).toString();
  } finally {
    closeSync(open);
  }
}
