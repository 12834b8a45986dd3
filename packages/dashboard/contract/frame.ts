/** What the server sends to the page: one frame with everything, four times a second. */
import type { Model } from "@lab/evidence/evidence";

/** How often a frame is sent. */
export const FRAME_MS = 250;

/** Dots are played so much later than what they show: by then every service's log has been read. */
export const DELAY_MS = 500;

/** The most dots in a column; beyond it one dot stands for more orders. */
export const MOST_DOTS = 300;

/** Where an order may be, the same rows in all three columns; the last two are ends. */
export const STATIONS = [
  "order",
  "first-wait",
  "inventory",
  "second-wait",
  "downstream",
  "done",
  "failed",
] as const;
export type Station = (typeof STATIONS)[number];

/** An order (by the end of its id) that arrives at a station (by its index), in ms before the frame. */
export type Hop = [order: string, station: number, agoMs: number];

/** Whether an order has a dot: every tenth or hundredth has, the same ones at all stations. */
export function isShown(order: string, scale: number): boolean {
  return scale === 1 || Number.parseInt(order.slice(-6), 16) % scale === 0;
}

export type ProcessState = "absent" | "up" | "recovering" | "paused" | "killed";

export interface ServiceFrame {
  name: string;
  state: ProcessState;
  pid: number;
  url: string;
  /** Why it isn't up, in its own words. */
  waits_for: string[];
  /** Work still to be done, by kind. */
  owed: Record<string, number>;
  /** The faults that are on; empty when there are none, undefined when it doesn't answer. */
  faults?: Record<string, number | boolean>;
  /** How many requests or messages they have struck. */
  struck: number;
  /** Age of what the service itself has said. */
  age_ms: number | null;
}

export interface BrokerFrame {
  name: string;
  kind: string;
  /** Whether the line to it can be made bad. */
  canProxy: boolean;
  state: ProcessState;
}

export interface QueueFrame {
  name: string;
  /** Null where the broker hasn't said. */
  ready: number | null;
  unacked: number | null;
  dead: number | null;
  age_ms: number | null;
  unacked_age_ms: number | null;
}

/** A topic as a consumer group sees it. */
export interface LogFrame {
  topic: string;
  group: string;
  /** Partition after partition: end offset, committed offset, seconds behind. */
  partitions: [end: number, committed: number, behindS: number][];
  members: number | null;
  age_ms: number | null;
}

export interface Percentiles {
  p50: number;
  p95: number;
  p99: number;
}

/** Of the last minute. */
interface StatsFrame {
  placed: number;
  per_minute: number;
  /** Share of the ended orders that failed, and of the requests that were refused; null without any. */
  failure_rate: number | null;
  /** From the request to the answer, of orders that this page has placed. */
  answer: Percentiles | null;
  /** From the request to the order's end, of all orders. */
  end: Percentiles | null;
  /** What customers were told, most frequent first. */
  told: [string, number][];
  /** Requests of this page without an answer yet. */
  waiting: number;
  /** Orders without an end. */
  open: number;
  /** Those of them that Inventory has reserved: over REST, the calls that wait for Notification. */
  reserved: number;
}

export interface LampFrame {
  name: string;
  state: "unknown" | "waiting" | "kept" | "broken";
  /** Why it is grey, or the counter-examples. */
  says: string;
  /** The orders of the counter-example. */
  orders: string[];
}

export interface ModelFrame {
  model: Model;
  services: ServiceFrame[];
  broker?: BrokerFrame;
  queues: QueueFrame[];
  logs: LogFrame[];
  deadLetters: number | null;
  stats: StatsFrame;
  lamps: LampFrame[];
  without: string[];
  hops: Hop[];
  /** How many orders a dot stands for. */
  scale: number;
  network: { fault: string; struck: number } | null;
}

/** Something that was broken, from when until when; a band on every chart. */
export interface Band {
  id: number;
  label: string;
  from_ms: number;
  /** Null while it lasts. */
  to_ms: number | null;
}

/** Orders that were placed together, one in each model. */
export interface Click {
  n: number;
  at_ms: number;
  orders: {
    model: Model;
    order_id: string | null;
    said: string;
    status: string;
    ms: number | null;
  }[];
}

/** A second of a chart: for each model the p95 to the end, what waits, and orders ended in a minute. */
export interface Tick {
  at_ms: number;
  end_ms: (number | null)[];
  waiting: number[];
  per_minute: number[];
}

export interface Frame {
  boot: string;
  at_ms: number;
  models: ModelFrame[];
  /** In a snapshot all of them; in a frame those that are open, or were closed a short while ago. */
  bands: Band[];
  clicks: Click[];
  tick: Tick;
  load: string;
}

/** The first event of a connection. */
export interface Snapshot extends Frame {
  facts: {
    model: Model;
    title: string;
    part: string;
    name: string;
    services: string[];
    downstream: "notification" | "analytics";
    queues: string[];
    protections: Protection[];
    hasBroker: boolean;
  }[];
  history: Tick[];
  /** Where the open orders are, for the dots. */
  dots: Hop[][];
}

/** A protection that can be taken away; with what to do then. */
export interface Protection {
  title: string;
  names: string[];
  /** What to do then, and what comes of it. */
  tryIt: string;
}
