// Where the orders are, from the lines that each service writes to its own log as it works.
import type { Model } from "@lab/evidence/evidence";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { closeSync, openSync, readSync, statSync } from "node:fs";
import { type Hop, isShown, MOST_DOTS, type Station, STATIONS } from "../contract/frame.ts";

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
const MOST_HOPS = 80;
/** How fast a rush of arrivals is forgotten, a frame: the scale must not flicker. */
const CALMS = 0.97;
/** Orders whose end is remembered: their log lines may be read later than their database. */
const MOST_ENDED = 10_000;
/** At most so much of a log is read at once: a page that can't keep up shows fewer dots. */
const MOST_BYTES = 1 << 20;

/** Follows a model's logs from now on. */
export class Trails {
  readonly #model: Model;
  readonly #files = new Map<string, { offset: number; rest: string }>();
  /** The open orders, with their last station. */
  readonly #places = new Map<string, Arrival>();
  #arrivals: Arrival[] = [];
  #rush = 0;
  readonly #ended = new Set<string>();
  /** The orders that calls were about, by the span of each: who is called says it only at the end. */
  readonly #called = new Map<string, string>();

  constructor(model: Model) {
    this.#model = model;
  }

  /** Reads what the services have written since. */
  follow(files: readonly string[]): void {
    for (const file of files) {
      for (const line of this.#read(file)) {
        this.#lookUpOrder(line);
        for (const arrival of arrivalsOf(this.#model, line)) this.#arrive(arrival);
      }
    }
  }

  /** Notes which order a call is about, and tells it of the span that the call leads to. */
  #lookUpOrder(line: LogLine): void {
    const { kind, order_id, parent_id, span_id } = line;
    if (kind === "client" && order_id !== undefined) {
      this.#called.set(String(span_id), order_id);
      if (this.#called.size > MOST_ENDED) this.#called.delete(this.#called.keys().next().value!);
    }
    const called = kind === "server" ? this.#called.get(String(parent_id)) : undefined;
    if (called !== undefined) line.order_id ??= called;
  }

  /** An order has ended, as its database says. */
  end(order: string, station: "done" | "failed", at_ms: number): void {
    this.#arrive({ order, station, at_ms });
  }

  /** One dot stands for so many orders: no dot's way may be cut short. */
  get scale(): number {
    const need = Math.max(this.#places.size / MOST_DOTS, this.#rush / MOST_HOPS);
    return need > 10 ? 100 : need > 1 ? 10 : 1;
  }

  /** The arrivals since the last call. */
  take(nowMs: number): Hop[] {
    this.#rush = Math.max(this.#arrivals.length, this.#rush * CALMS);
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
    const { order, station } = arrival;
    const known = this.#places.get(order)?.station;
    // A line may be read after a later one of another service; and a retry isn't a step back.
    const isLate = known !== undefined && STATIONS.indexOf(known) >= STATIONS.indexOf(station);
    if (isLate || this.#ended.has(order)) return;
    this.#arrivals.push(arrival);
    if (station !== "done" && station !== "failed") {
      this.#places.set(order, arrival);
      return;
    }
    this.#places.delete(order);
    this.#ended.add(order);
    // A set keeps the order in which it was filled.
    for (const oldest of this.#ended) {
      if (this.#ended.size <= MOST_ENDED) break;
      this.#ended.delete(oldest);
    }
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
      const parsed = ARRIVES.test(line) ? lineOf(line) : undefined;
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

/** The lines that `arrivalsOf` knows; the others aren't parsed. */
const ARRIVES = /"event":"(span_begun|order_placed|stock_decided|customer_told)"/;

/** What a line says about where an order is. */
function arrivalsOf(model: Model, line: LogLine): Arrival[] {
  const { event, order_id: order, service, time } = line;
  if (order === undefined) return [];
  const { broker, services } = factsOf(model);
  const [first, second] = services;
  const at = (station: Station, at_ms = Date.parse(time)): Arrival => ({ order, station, at_ms });
  const own: Station =
    service === first ? "order" : service === second ? "inventory" : "downstream";
  switch (event) {
    case "span_begun": {
      const station = stationOf(line, own, broker?.name === "kafka" ? broker.topics[0] : undefined);
      return station === undefined ? [] : [at(station, Number(line["at_us"]) / 1_000)];
    }
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

/** Where an order is once that span has begun in the service of that station; `orders` is the topic that Analytics reads, too. */
function stationOf(line: LogLine, own: Station, orders: string | undefined): Station | undefined {
  const name = String(line["name"]);
  switch (line["kind"]) {
    case "server":
      return own;
    case "client":
      // A message that is settled is where it was.
      if (name.startsWith("settle ")) return undefined;
      return name.endsWith("/send") ? "second-wait" : "first-wait";
    case "producer":
      return own === "order" ? "first-wait" : own === "inventory" ? "second-wait" : undefined;
    case "consumer":
      // Order hears the result, and Analytics the order itself: neither is where the order waits for.
      return own === "order" ||
        (own === "downstream" && orders !== undefined && name.endsWith(orders))
        ? undefined
        : own;
    default:
      return undefined;
  }
}

function hopOf({ at_ms, order, station }: Arrival, nowMs: number): Hop {
  return [order.slice(-8), STATIONS.indexOf(station), Math.round(nowMs - at_ms)];
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
