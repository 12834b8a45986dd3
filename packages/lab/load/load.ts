import type { PlaceOrder } from "@lab/contracts/order";
import { bulkOrder } from "@lab/workflow/bulk";
import autocannon from "autocannon";
import { build, type Histogram } from "hdr-histogram-js";
import type { Table } from "@lab/evidence/evidence";
import { answerOf, type History, type Outcome, type OutcomeKind } from "./history.ts";
import { nowUs } from "../host/waiting.ts";

/** Ten minutes: longer than any timeout. */
const HIGHEST_US = 600_000_000;

/**
 * How many requests Bun's `fetch` sends at once; those beyond it wait in the
 * client, and their latency says nothing about the server. It can't be changed
 * at run time: start with BUN_CONFIG_MAX_HTTP_REQUESTS=4096 for more.
 */
export const FETCH_LIMIT = Number(process.env["BUN_CONFIG_MAX_HTTP_REQUESTS"]) || 256;

export interface LoadResult {
  /** Microseconds, 1 to ten minutes, 3 digits; in an open loop from the intended start. */
  histogram: Histogram;
  count: number;
  /** Exact, where the histogram rounds; 0 when nothing was sent. */
  minUs: number;
  maxUs: number;
  outcomes: Record<OutcomeKind, number>;
  /** The same in detail: `ok 201`, `failed 504 inventory_timeout`, `unknown timeout`. */
  answers: Record<string, number>;
  /** From the first start to the last answer. */
  durationS: number;
  perS: number;
  connections: number | null;
  /** Most requests under way at once: above `FETCH_LIMIT` some waited in the client. */
  maxInFlight: number;
  /**
   * The largest delay between the intended and the actual start of a request: caused by this
   * machine. 0 in a closed loop.
   */
  maxStartDelayUs: number;
}

export type Send = (n: number) => Promise<Outcome>;

/**
 * Sends at a given rate, independent of the answers: request n (from 0) starts at n / rate, and its
 * latency counts from there, so that a stall shows in every request that it delayed. After a delay
 * of this machine it catches up; nothing is skipped. `signal` ends it early. With `exact: false` a
 * request starts up to 2 ms late, as timers do: to be exact keeps the processor busy for a
 * millisecond before each. Throws what `send` throws, once all requests in progress have ended.
 */
export async function openLoop(
  options: { ratePerS: number; send: Send; signal?: AbortSignal; exact?: boolean } & (
    { durationS: number } | { count: number }
  ),
): Promise<LoadResult> {
  const { exact = true, ratePerS, send, signal } = options;
  const count = "count" in options ? options.count : Math.round(ratePerS * options.durationS);
  const recorder = new Recorder(null);
  const startUs = recorder.startUs;
  const underWay = new Set<Promise<void>>();
  for (let n = 0; n < count && !recorder.broken && !signal?.aborted; n += 1) {
    const intendedUs = startUs + Math.round((n * 1_000_000) / ratePerS);
    await (exact ? until : timerUntil)(intendedUs);
    if (signal?.aborted) break;
    const one = recorder.measure(intendedUs, () => send(n));
    underWay.add(one);
    void one.then(() => underWay.delete(one));
  }
  await Promise.all(underWay);
  return recorder.result();
}

/**
 * Sends `count` requests over `connections` that each wait for their answer before the next. Throws
 * what `send` throws, once all requests in progress have ended, and at once when there are more
 * connections than `fetch` has.
 */
export async function closedLoop({
  count,
  connections,
  send,
}: {
  count: number;
  connections: number;
  send: Send;
}): Promise<LoadResult> {
  if (connections > FETCH_LIMIT) {
    throw new Error(
      `${connections} connections, but fetch sends ${FETCH_LIMIT} requests at once: start with BUN_CONFIG_MAX_HTTP_REQUESTS=4096`,
    );
  }
  const recorder = new Recorder(connections);
  let next = 0;
  const connection = async () => {
    while (next < count && !recorder.broken) {
      const n = next++;
      await recorder.measure(nowUs(), () => send(n));
    }
  };
  await Promise.all(Array.from({ length: connections }, connection));
  return recorder.result();
}

/** The columns of `latencyRow`. */
export const LATENCY_COLUMNS: Table["columns"] = [
  { name: "load" },
  { name: "N" },
  { name: "connections" },
  { name: "min", unit: "ms" },
  { name: "mean", unit: "ms" },
  { name: "p50", unit: "ms" },
  { name: "p95", unit: "ms" },
  { name: "p99", unit: "ms" },
  { name: "max", unit: "ms" },
  { name: "errors" },
];

/** A row of a latency table; milliseconds with 3 decimals. Errors are all that isn't ok. */
export function latencyRow(load: string, result: LoadResult): Table["rows"][0] {
  const { count, outcomes, connections } = result;
  const at = latencies(result);
  return [
    load,
    count,
    connections ?? "open loop",
    at.min_ms,
    at.mean_ms,
    at.p50_ms,
    at.p95_ms,
    at.p99_ms,
    at.max_ms,
    outcomes.failed + outcomes.unknown,
  ];
}

/** The same latencies by name, for `run.figure`; milliseconds with 3 decimals. */
export function latencies({ histogram, minUs, maxUs }: LoadResult) {
  // The histogram rounds up to the end of its bucket, which may lie above the maximum.
  const percentile = (p: number) => toMs(Math.min(histogram.getValueAtPercentile(p), maxUs));
  return {
    min_ms: toMs(minUs),
    mean_ms: toMs(histogram.totalCount === 0 ? 0 : histogram.mean),
    p50_ms: percentile(50),
    p95_ms: percentile(95),
    p99_ms: percentile(99),
    max_ms: toMs(maxUs),
  };
}

/** Points of a latency chart: [percentile, ms], from below the median to the tail. */
export function percentileLine({ histogram, maxUs }: LoadResult): [number, number][] {
  const percentiles = [0, 10, 25, 50, 75, 90, 95, 99, 99.9, 100];
  return percentiles.map((p) => [p, toMs(Math.min(histogram.getValueAtPercentile(p), maxUs))]);
}

/**
 * POSTs JSON and returns the outcome: ok (2xx), failed (another status, or a refused connection, so
 * that certainly nothing happened), or unknown (timeout, reset: it may have happened). Never throws
 * network errors.
 */
export async function post(
  url: string,
  body: unknown,
  {
    headers = {},
    timeoutMs = 30_000,
  }: { headers?: Record<string, string>; timeoutMs?: number } = {},
): Promise<Outcome> {
  let response: Response;
  let text: string;
  try {
    response = await fetch(url, {
      method: "POST",
      headers: { "content-type": "application/json", ...headers },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(timeoutMs),
    });
    text = await response.text();
  } catch (error) {
    return noAnswer(error);
  }
  const answer = parsed(text);
  const { code, order_id } = (answer ?? {}) as Record<string, unknown>;
  return {
    kind: response.ok ? "ok" : "failed",
    status: response.status,
    ...(typeof code === "string" ? { code } : {}),
    ...(typeof order_id === "string" ? { order_id } : {}),
    body: answer,
  };
}

/** The share of them that ask for an item that isn't on the menu. */
const FAIL_RATE = 0.05;

/** The n-th of the orders that follow from a seed. */
export function seededOrder(seed: number, n: number): PlaceOrder {
  return bulkOrder({ seed, kitchens: 25, failRate: FAIL_RATE }, n);
}

/** `POST <url>/order`, see `post`; recorded in the history if there is one. */
export function placeOrder(
  url: string,
  order: PlaceOrder,
  {
    history,
    ...options
  }: {
    history?: History;
    headers?: Record<string, string>;
    timeoutMs?: number;
  } = {},
): Promise<Outcome> {
  const run = () => post(`${url}/order`, order, options);
  return history === undefined
    ? run()
    : history.record("place_order", order, run, options.headers?.["idempotency-key"]);
}

/**
 * The throughput of `connections` in a closed loop, in orders per second. No latencies:
 * autocannon's are whole milliseconds. Throws when an answer wasn't 2xx, since errors are fast.
 */
export async function saturate({
  url,
  connections,
  durationS,
  body,
}: {
  url: string;
  connections: number;
  durationS: number;
  body: unknown;
}): Promise<{ orders: number; ordersPerS: number }> {
  const result = await autocannon({
    url,
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(body),
    connections,
    duration: durationS,
    // How often it checks whether to end, in ms.
    sampleInt: 100,
  });
  const { non2xx, errors, timeouts, duration } = result;
  if (non2xx + errors + timeouts > 0) {
    throw new Error(
      `under saturation ${non2xx} answers weren't 2xx, ${errors} connections failed, ${timeouts} timed out`,
    );
  }
  const orders = result["2xx"];
  return { orders, ordersPerS: Math.round(orders / duration) };
}

class Recorder {
  readonly startUs = nowUs();
  readonly #histogram = build({
    lowestDiscernibleValue: 1,
    highestTrackableValue: HIGHEST_US,
    numberOfSignificantValueDigits: 3,
    autoResize: false,
    useWebAssembly: false,
  });
  readonly #connections: number | null;
  readonly #outcomes = { ok: 0, failed: 0, unknown: 0 };
  readonly #answers: Record<string, number> = {};
  #minUs = Number.POSITIVE_INFINITY;
  #maxUs = 0;
  #inFlight = 0;
  #maxInFlight = 0;
  #maxStartDelayUs = 0;
  #errors: unknown[] = [];

  constructor(connections: number | null) {
    this.#connections = connections;
  }

  /** Whether a `send` threw: an error in the experiment, so continuing is pointless. */
  get broken(): boolean {
    return this.#errors.length > 0;
  }

  /** Never rejects; `result` throws what `send` threw. */
  async measure(fromUs: number, send: () => Promise<Outcome>): Promise<void> {
    this.#maxStartDelayUs = Math.max(this.#maxStartDelayUs, nowUs() - fromUs);
    this.#inFlight += 1;
    this.#maxInFlight = Math.max(this.#maxInFlight, this.#inFlight);
    try {
      const outcome = await send();
      this.#record(nowUs() - fromUs, outcome);
    } catch (error) {
      this.#errors.push(error);
    } finally {
      this.#inFlight -= 1;
    }
  }

  result(): LoadResult {
    if (this.broken) throw this.#errors[0];
    const count = this.#histogram.totalCount;
    const durationS = Math.max(1, nowUs() - this.startUs) / 1_000_000;
    return {
      histogram: this.#histogram,
      count,
      minUs: count === 0 ? 0 : this.#minUs,
      maxUs: this.#maxUs,
      outcomes: this.#outcomes,
      answers: this.#answers,
      durationS,
      perS: count / durationS,
      connections: this.#connections,
      maxInFlight: this.#maxInFlight,
      maxStartDelayUs: this.#maxStartDelayUs,
    };
  }

  #record(latencyUs: number, { kind, status, code }: Outcome): void {
    const us = Math.min(HIGHEST_US, Math.max(1, latencyUs));
    this.#histogram.recordValue(us);
    this.#minUs = Math.min(this.#minUs, us);
    this.#maxUs = Math.max(this.#maxUs, us);
    this.#outcomes[kind] += 1;
    const answer = answerOf({ outcome: kind, status, code });
    this.#answers[answer] = (this.#answers[answer] ?? 0) + 1;
  }
}

/**
 * Waits until that moment, to some microseconds: a timer alone is up to 1 ms late, half the latency
 * of an answer here.
 */
async function until(dueUs: number): Promise<void> {
  const waitMs = (dueUs - nowUs()) / 1_000;
  if (waitMs > 1.5) {
    await new Promise((resolve) => setTimeout(resolve, Math.floor(waitMs - 0.5)));
  }
  while (nowUs() < dueUs) await new Promise((resolve) => setImmediate(resolve));
}

/** Waits until that moment, by one timer. */
async function timerUntil(dueUs: number): Promise<void> {
  const waitMs = (dueUs - nowUs()) / 1_000;
  if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, Math.ceil(waitMs)));
}

function noAnswer(error: unknown): Outcome {
  const { name, code } = error as { name?: string; code?: string };
  // Nobody listened, so certainly nothing happened.
  if (code === "ConnectionRefused" || code === "ECONNREFUSED") {
    return { kind: "failed", code: "connection_refused" };
  }
  if (name === "TimeoutError") return { kind: "unknown", code: "timeout" };
  if (code === "ECONNRESET") {
    return { kind: "unknown", code: "connection_reset" };
  }
  // ERR_INVALID_URL and the like: nothing was sent, the caller's error.
  if (code?.startsWith("ERR_")) throw error;
  return { kind: "unknown", code: code ?? name ?? String(error) };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

function toMs(us: number): number {
  return Math.round(us) / 1_000;
}
