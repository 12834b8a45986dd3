import { FormatRegistry, type Static, type TSchema, Type } from "@sinclair/typebox";
import { type TypeCheck, TypeCompiler } from "@sinclair/typebox/compiler";
import { derivedId, newId, OrderId, Uuid } from "./ids.ts";
import { Kitchen, OrderItems, RejectReason, repeatedSku, UserId } from "./order.ts";
import { Text } from "./text.ts";

const closed = { additionalProperties: false };

/** RFC 3339 in UTC, as `Date.prototype.toISOString` writes it. */
const TIME = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.\d{1,9})?Z$/;

/**
 * A clock that was never set shows a date before these years; analytics, which counts by event
 * time, would average over decades. The bounds are fixed and not relative to the present: a replay
 * must decide as the first read did.
 */
const FIRST_YEAR = 2020;
const LAST_YEAR = 2099;

FormatRegistry.Set("event-time", (text) => {
  const seconds = TIME.exec(text)?.[1];
  if (seconds === undefined) return false;
  const date = new Date(`${seconds}Z`);
  const year = date.getUTCFullYear();
  if (!(year >= FIRST_YEAR && year <= LAST_YEAR)) return false;
  // Date would turn a day that does not exist, 30 February, into another.
  return date.toISOString().startsWith(seconds);
});

const Time = Type.String({
  format: "event-time",
  description: `RFC 3339, UTC, ${FIRST_YEAR} to ${LAST_YEAR}`,
});

/** W3C Trace Context: an id of zeros only is invalid. */
const TRACEPARENT = "^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$";

/** A CloudEvents 1.0 envelope, structured JSON mode; `subject` is the order. */
function cloudEvent<const T extends string, D extends TSchema>(type: T, data: D) {
  return Type.Object(
    {
      specversion: Type.Literal("1.0"),
      id: Uuid,
      source: Text(128),
      type: Type.Literal(type),
      subject: OrderId,
      time: Time,
      datacontenttype: Type.Literal("application/json"),
      traceparent: Type.Optional(Type.String({ pattern: TRACEPARENT })),
      data,
    },
    closed,
  );
}

/** The nil and max UUIDs (RFC 9562): what a sender that has set no id sends. */
const UNSET = /^(0{8}-(0{4}-){3}0{12}|f{8}-(f{4}-){3}f{12})$/;

const order = { order_id: OrderId, user_id: UserId, kitchen: Kitchen };

const SCHEMAS = {
  OrderPlaced: cloudEvent("OrderPlaced", Type.Object({ ...order, items: OrderItems }, closed)),
  InventoryReserved: cloudEvent(
    "InventoryReserved",
    Type.Object({ ...order, items: OrderItems }, closed),
  ),
  InventoryFailed: cloudEvent(
    "InventoryFailed",
    Type.Object({ ...order, reason: RejectReason }, closed),
  ),
  ConfirmationSent: cloudEvent("ConfirmationSent", Type.Object(order, closed)),
};

export type EventType = keyof typeof SCHEMAS;
export type EventOf<T extends EventType> = Static<(typeof SCHEMAS)[T]>;
export type OrderPlaced = EventOf<"OrderPlaced">;
export type InventoryReserved = EventOf<"InventoryReserved">;
export type InventoryFailed = EventOf<"InventoryFailed">;
export type LabEvent = { [T in EventType]: EventOf<T> }[EventType];

export const CONTENT_TYPE = "application/cloudevents+json";

/** The largest event, in bytes: as much as a request body may be. */
export const MAX_EVENT_BYTES = 64 * 1024;

const checks = Object.fromEntries(
  Object.entries(SCHEMAS).map(([type, schema]) => [type, TypeCompiler.Compile(schema)]),
) as unknown as Record<EventType, TypeCheck<TSchema>>;

/** A new event that no other event caused. */
export function newEvent<T extends EventType>(
  type: T,
  source: string,
  data: EventOf<T>["data"],
  traceparent?: string,
): EventOf<T> {
  return event(type, newId(), source, data, traceparent);
}

/**
 * The event that `consumer` publishes because of `cause`. Its id is derived, so a consumer to which
 * the cause is delivered again publishes the same event again, not another.
 */
export function causedEvent<T extends EventType>(
  cause: LabEvent,
  consumer: string,
  type: T,
  data: EventOf<T>["data"],
): EventOf<T> {
  return event(type, derivedId(cause, consumer), consumer, data, cause.traceparent);
}

function event<T extends EventType>(
  type: T,
  id: string,
  source: string,
  data: EventOf<T>["data"],
  traceparent: string | undefined,
): EventOf<T> {
  return {
    specversion: "1.0",
    id,
    source,
    type,
    subject: data.order_id,
    time: new Date().toISOString(),
    datacontenttype: "application/json",
    ...(traceparent === undefined ? {} : { traceparent }),
    data,
  } as EventOf<T>;
}

/**
 * A digest of an event's content. Events of one source and id are the same only if it is equal. It
 * does not depend on how the JSON is formatted, nor on `traceparent` and `time`: a producer that
 * lost its record of an event publishes it again under the derived id, at another time.
 */
export function digestOf({ id, source, type, data }: LabEvent): string {
  const { order_id, user_id, kitchen } = data;
  const items = "items" in data ? data.items.map(({ sku, qty }) => [sku, qty]) : [];
  const reason = "reason" in data ? data.reason : "";
  const order = [order_id, user_id, kitchen, items, reason];
  return new Bun.CryptoHasher("sha256")
    .update(JSON.stringify([source, id, type, order]))
    .digest("hex");
}

/** The event as JSON. Throws when it violates its own contract: that is a bug. */
export function encodeEvent(event: LabEvent): string {
  const invalid = violation(event);
  if (invalid) throw new Error(`${event.type} ${event.id}: ${invalid}`);
  return JSON.stringify(event);
}

export type InvalidReason =
  "empty" | "too_large" | "invalid_utf8" | "not_json" | "unknown_type" | "wrong_schema";

export type Decoded<T extends EventType = EventType> =
  { kind: "event"; event: EventOf<T> } | { kind: "invalid"; reason: InvalidReason; detail: string };

const utf8 = new TextDecoder("utf-8", { fatal: true });

/**
 * Reads a message that should be one of `types`. A message that can never be valid is returned as a
 * value, not thrown: its reason goes to the dead letters.
 */
export function decodeEvent<T extends EventType>(
  bytes: Uint8Array,
  types: readonly T[],
): Decoded<T> {
  if (bytes.length === 0) return invalid("empty", "the message has no body");
  if (bytes.length > MAX_EVENT_BYTES) {
    return invalid("too_large", `${bytes.length} bytes, at most ${MAX_EVENT_BYTES}`);
  }
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch {
    return invalid("invalid_utf8", "the body is not UTF-8");
  }
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return invalid("not_json", (error as Error).message);
  }
  const type = (value as { type?: unknown } | null)?.type;
  if (!types.includes(type as T)) {
    const got = JSON.stringify(type)?.slice(0, 80) ?? "none";
    return invalid("unknown_type", `type is ${got}, expected ${types.join(" or ")}`);
  }
  const detail = violation(value as LabEvent);
  if (detail) return invalid("wrong_schema", detail);
  return { kind: "event", event: value as EventOf<T> };
}

function invalid(reason: InvalidReason, detail: string) {
  return { kind: "invalid", reason, detail } as const;
}

/** What is wrong with an event of a known type, or undefined. */
function violation(event: LabEvent): string | undefined {
  const check = checks[event.type];
  if (!check.Check(event)) {
    const first = check.Errors(event).First();
    return first ? `${first.path || "/"}: ${first.message}` : "does not match its schema";
  }
  for (const name of ["id", "subject"] as const) {
    if (UNSET.test(event[name])) return `/${name}: is that of nothing`;
  }
  if (event.subject !== event.data.order_id) {
    return "/subject: differs from /data/order_id";
  }
  const sku = "items" in event.data ? repeatedSku(event.data.items) : undefined;
  return sku === undefined ? undefined : `/data/items: ${JSON.stringify(sku)} stands twice`;
}
