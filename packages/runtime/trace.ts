/**
 * Traces as W3C Trace Context has them. Every hop of an order is a span, written to the process's
 * log when it begins and when it ends: what a killed process was doing stays begun there.
 */
import type { Log } from "./log.ts";

/** So many of the traces that begin in this process are sampled, in any second. */
const SAMPLED_PER_S = 20;

/** Version 00 ends after the flags, a later version may go on behind a hyphen. */
const TRACEPARENT =
  /^(?!ff|00-.{53})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-|$)/;

/** "Sampled" and "random trace id"; the standard has all others set to zero. */
const KNOWN_FLAGS = 0b11;

/** By the names of OpenTelemetry's semantic conventions; `error.type` where it ended with an error. */
export type Attributes = Record<string, string | number | boolean>;

interface SpanStart {
  kind: "server" | "client" | "producer" | "consumer" | "internal";
  /** The operation and its destination: `send order.placed`. */
  name: string;
  orderId?: string | undefined;
  attributes?: Attributes;
  /** The `traceparent` of the span that sent the message, which may be the parent, too. */
  link?: string | undefined;
}

/** A sampled span; times in microseconds since 1970. */
export interface Span extends SpanStart {
  traceId: string;
  spanId: string;
  parentId: string | undefined;
  beganUs: number;
  endedUs: number;
  attributes: Attributes;
}

/** The sampled spans that have not ended, by their `traceparent`. */
const open = new Map<string, { span: Span; noted: Attributes; log: Log }>();

/**
 * Begins a span and returns its `traceparent`: the next hop's parent, and the span's name for
 * `noteOnSpan` and `endSpan`. Without a valid parent it is the first span of a new trace.
 * `describe` is called only where the trace is sampled.
 */
export function beginSpan(
  log: Log,
  parent: string | null | undefined,
  describe: () => SpanStart,
): string {
  const [, parentTrace, parentId, parentFlags] = TRACEPARENT.exec(parent ?? "") ?? [];
  const flags = parentFlags === undefined ? Number(drawSample()) : flagsIn(parentFlags);
  const traceId = parentTrace ?? hex(16);
  const spanId = hex(8);
  const traceparent = `00-${traceId}-${spanId}-0${flags}`;
  if (isSampled(traceparent)) {
    const { attributes = {}, ...start } = describe();
    const beganUs = nowUs();
    const span = { ...start, traceId, spanId, parentId, beganUs, endedUs: 0, attributes };
    open.set(traceparent, { span, noted: {}, log });
    log.info("span_begun", {
      trace_id: traceId,
      span_id: spanId,
      parent_id: parentId,
      kind: start.kind,
      name: start.name,
      order_id: start.orderId,
      at_us: beganUs,
      attributes: shown(attributes),
    });
  }
  return traceparent;
}

/**
 * The same for a message that is processed. `sender` is the span that sent it. One that was already
 * processed and is put before its consumer once more, by a replay or by an operator, belongs to a
 * trace of its own and has the sender as a link.
 */
export function beginProcessing(
  log: Log,
  sender: string | undefined,
  isReplayed: boolean,
  describe: () => Omit<SpanStart, "kind" | "link">,
): string {
  const link = sender !== undefined && TRACEPARENT.test(sender) ? sender : undefined;
  const parent = isReplayed && link && flagsIn(link.slice(53, 55)) & 1 ? undefined : link;
  return beginSpan(log, parent, () => {
    const { attributes, ...start } = describe();
    const all = { ...attributes, ...(isReplayed && { replayed: true }) };
    return { ...start, kind: "consumer", attributes: all, link };
  });
}

/**
 * Begins the span in which a processed message is settled, within that of its processing. Undefined
 * where that isn't sampled, or has ended.
 */
export function beginSettling(processing: string | undefined): string | undefined {
  const begun = open.get(processing ?? "");
  if (!begun) return undefined;
  const { attributes, name, orderId } = begun.span;
  return beginSpan(begun.log, processing, () => ({
    kind: "client",
    name: name.replace(/^process/, "settle"),
    orderId,
    attributes: { ...attributes, "messaging.operation.type": "settle" },
  }));
}

/** Adds to what the span's end will say. Nothing where it isn't sampled, or has ended. */
export function noteOnSpan(traceparent: string | null | undefined, attributes: Attributes): void {
  const noted = open.get(traceparent ?? "")?.noted;
  if (noted) Object.assign(noted, attributes);
}

/** Ends a span. Nothing where it isn't sampled, or has ended. */
export function endSpan(traceparent: string | undefined, attributes: Attributes = {}): void {
  const ended = open.get(traceparent ?? "");
  if (!ended) return;
  open.delete(traceparent!);
  const { log, noted, span } = ended;
  Object.assign(noted, attributes);
  Object.assign(span.attributes, noted);
  span.endedUs = nowUs();
  log.info("span_ended", {
    trace_id: span.traceId,
    span_id: span.spanId,
    at_us: span.endedUs,
    outcome: "error.type" in noted ? "error" : "ok",
    attributes: shown(noted),
  });
  exportSpan?.(span);
}

/** Of a `traceparent` that `beginSpan` has returned. */
export function isSampled(traceparent: string): boolean {
  // The flags are at most 3.
  return traceparent.endsWith("1") || traceparent.endsWith("3");
}

/** Runs `work` in a span, which ends with it. */
export function inSpan<T>(
  log: Log,
  parent: string | null | undefined,
  describe: () => SpanStart,
  work: (traceparent: string) => Promise<T>,
): Promise<T> {
  const traceparent = beginSpan(log, parent, describe);
  return isSampled(traceparent) ? untilEnded(traceparent, work) : work(traceparent);
}

async function untilEnded<T>(
  traceparent: string,
  work: (traceparent: string) => Promise<T>,
): Promise<T> {
  try {
    const result = await work(traceparent);
    endSpan(traceparent);
    return result;
  } catch (error) {
    endSpan(traceparent, errorAttributes(error));
    throw error;
  }
}

export function errorAttributes(error: unknown): Attributes {
  return { "error.type": (error as Error).name };
}

/** Of a call whose answer has that status. A refusal is no error, as far as the call is concerned. */
export function statusAttributes(status: number): Attributes {
  const attributes: Attributes = { "http.response.status_code": status };
  return status < 500 ? attributes : { ...attributes, "error.type": String(status) };
}

let exportSpan: ((span: Span) => void) | undefined;

/** Hands over every span that ends from now on. */
export function exportSpansTo(take: (span: Span) => void): void {
  exportSpan = take;
}

function shown(attributes: Attributes): Attributes | undefined {
  return Object.keys(attributes).length === 0 ? undefined : attributes;
}

function flagsIn(hexFlags: string): number {
  return Number.parseInt(hexFlags, 16) & KNOWN_FLAGS;
}

/** When each of the latest samples was taken; the oldest is the next to be replaced. */
const sampledMs = new Float64Array(SAMPLED_PER_S).fill(-Infinity);
let oldest = 0;

function drawSample(): boolean {
  const now = performance.now();
  if (now - sampledMs[oldest]! < 1_000) return false;
  sampledMs[oldest] = now;
  oldest = (oldest + 1) % SAMPLED_PER_S;
  return true;
}

let originMs = performance.timeOrigin;

/** Microseconds since 1970, from the steady clock: `Date.now` has only milliseconds. */
function nowUs(): number {
  const ms = performance.now();
  // The steady clock stands while a machine sleeps, and doesn't follow the set time.
  const driftMs = Date.now() - (originMs + ms);
  if (Math.abs(driftMs) > 5) originMs += driftMs;
  return Math.round((originMs + ms) * 1_000);
}

function hex(bytes: number): string {
  return crypto.getRandomValues(new Uint8Array(bytes)).toHex();
}
