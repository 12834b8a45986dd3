import { expect, test } from "bun:test";
import fc from "fast-check";
import {
  causedEvent,
  decodeEvent,
  digestOf,
  encodeEvent,
  MAX_EVENT_BYTES,
  newEvent,
  type OrderPlaced,
} from "./events.ts";
import { newId } from "./ids.ts";

const DATA = {
  order_id: newId(),
  user_id: "u1",
  kitchen: "main",
  items: [{ sku: "burger", qty: 1 }],
};
const bytes = (value: unknown) =>
  new TextEncoder().encode(typeof value === "string" ? value : JSON.stringify(value));

test("what is encoded is decoded", () => {
  const event = newEvent("OrderPlaced", "order-service", DATA);
  expect(decodeEvent(bytes(encodeEvent(event)), ["OrderPlaced"])).toEqual({
    kind: "event",
    event,
  });
});

test("an event that breaks its contract is not encoded", () => {
  const bad = newEvent("OrderPlaced", "order-service", { ...DATA, items: [] });
  expect(() => encodeEvent(bad)).toThrow("/data/items");
});

test("each kind of poison has its reason", () => {
  const event = newEvent("OrderPlaced", "order-service", DATA);
  const poison: Record<string, Uint8Array> = {
    empty: bytes(""),
    too_large: new Uint8Array(MAX_EVENT_BYTES + 1),
    invalid_utf8: new Uint8Array([0x22, 0xff, 0x22]),
    not_json: bytes("{"),
    unknown_type: bytes({ ...event, type: "OrderEaten" }),
    "wrong_schema qty": bytes({
      ...event,
      data: { ...DATA, items: [{ sku: "burger", qty: "1" }] },
    }),
    "wrong_schema unknown property": bytes({ ...event, extra: 1 }),
    "wrong_schema subject": bytes({ ...event, subject: newId() }),
    "wrong_schema twice": bytes({
      ...event,
      data: { ...DATA, items: [...DATA.items, ...DATA.items] },
    }),
  };
  const reasons = Object.entries(poison).map(([name, body]): unknown[] => {
    const decoded = decodeEvent(body, ["OrderPlaced"]);
    return [name, decoded.kind === "invalid" && decoded.reason];
  });
  expect(reasons).toEqual(Object.keys(poison).map((name) => [name, name.split(" ")[0]]));
});

test.each([
  "0000-00-00T00:00:00Z",
  "2026-02-30T12:00:00Z",
  "2025-02-29T12:00:00Z",
  "2026-13-01T12:00:00Z",
  "2026-01-01T24:00:00Z",
  "2026-01-01T12:60:00Z",
  "2026-01-01T12:00:60Z",
  "1970-01-01T00:00:00Z",
  "2019-12-31T23:59:59Z",
  "2100-01-01T00:00:00Z",
  "9999-12-31T23:59:59Z",
  "0000-01-01T00:00:00Z",
  "2026-01-01T12:00:00+00:00",
  "2026-01-01T12:00:00",
  "2026-01-01",
  "",
])("%p is no event's time", (time) => {
  const event = { ...newEvent("OrderPlaced", "order-service", DATA), time };
  expect(decodeEvent(bytes(event), ["OrderPlaced"])).toMatchObject({
    reason: "wrong_schema",
    detail: expect.stringContaining("/time"),
  });
});

test.each(["2020-01-01T00:00:00Z", "2028-02-29T23:59:59.123456789Z", "2099-12-31T23:59:59.9Z"])(
  "%p is an event's time",
  (time) => {
    const event = { ...newEvent("OrderPlaced", "order-service", DATA), time };
    expect(decodeEvent(bytes(event), ["OrderPlaced"]).kind).toBe("event");
  },
);

const NIL = "00000000-0000-0000-0000-000000000000";
const TRACE = "0af7651916cd43dd8448eb211c80319c";
test.each<[string, object]>([
  ["id", { id: NIL }],
  ["id", { id: NIL.replaceAll("0", "f") }],
  ["subject", { subject: NIL, data: { ...DATA, order_id: NIL } }],
  ["source", { source: "" }],
  ["source", { source: " \u00a0" }],
  ["source", { source: "order\n" }],
  ["traceparent", { traceparent: `00-${"0".repeat(32)}-b7ad6b7169203331-01` }],
  ["traceparent", { traceparent: `00-${TRACE}-${"0".repeat(16)}-01` }],
  ["data/user_id", { data: { ...DATA, user_id: "\u001b[2J" } }],
  ["data/kitchen", { data: { ...DATA, kitchen: "\u200b" } }],
  ["data/items/0/sku", { data: { ...DATA, items: [{ sku: "\n", qty: 1 }] } }],
])("an event with a wrong %s", (path, wrong) => {
  const event = { ...newEvent("OrderPlaced", "order-service", DATA), ...wrong };
  expect(decodeEvent(bytes(event), ["OrderPlaced"])).toMatchObject({
    reason: "wrong_schema",
    detail: expect.stringContaining(`/${path}: `),
  });
});

test("an event of a type that is not wanted here is unknown", () => {
  const event = newEvent("OrderPlaced", "order-service", DATA);
  expect(decodeEvent(bytes(event), ["ConfirmationSent"])).toMatchObject({
    reason: "unknown_type",
  });
});

test("no bytes make the decoder throw", () => {
  fc.assert(
    fc.property(
      fc.oneof(
        fc.uint8Array({ maxLength: 200 }),
        fc.jsonValue().map(bytes),
        fc
          .dictionary(fc.constantFrom("type", "id", "data"), fc.jsonValue())
          .map((some) => bytes({ type: "OrderPlaced", ...some })),
      ),
      (body) => {
        expect(decodeEvent(body, ["OrderPlaced"]).kind).toBe("invalid");
      },
    ),
  );
});

test("saying a caused event again gives the same id, another consumer another", () => {
  const cause = newEvent("OrderPlaced", "order-service", DATA);
  const say = (consumer: string) => causedEvent(cause, consumer, "InventoryReserved", DATA).id;
  expect(say("inventory")).toBe(say("inventory"));
  expect(say("inventory")).not.toBe(say("notification"));
  const other = { ...cause, source: "another-shop" };
  expect(causedEvent(other, "inventory", "InventoryReserved", DATA).id).not.toBe(say("inventory"));
});

test("what an event says is told apart from how it is written and came", () => {
  const event = newEvent("OrderPlaced", "order-service", DATA);
  const { data, ...rest } = event;
  const { items, ...order } = data;
  const rewritten = { data: { items, ...order }, ...rest, traceparent: "00-another" };
  const again = { ...rewritten, time: "2026-01-01T00:00:00Z" };
  expect(digestOf(again)).toBe(digestOf(event));
  const others: OrderPlaced[] = [
    { ...event, source: "another-shop" },
    { ...event, id: newId() },
    ...[{ user_id: "u2" }, { kitchen: "k01" }, { items: [{ sku: "taco", qty: 1 }] }].map(
      (more) => ({ ...event, data: { ...data, ...more } }),
    ),
  ];
  const digests = new Set([event, ...others].map(digestOf));
  expect(digests.size).toBe(1 + others.length);
});
