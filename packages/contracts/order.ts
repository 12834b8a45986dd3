import { type Static, Type } from "@sinclair/typebox";
import { OrderId } from "./ids.ts";
import { Text } from "./text.ts";

const closed = { additionalProperties: false };

export const UserId = Text(64);
export const Kitchen = Text(64);
const Timestamp = Type.String({ description: "RFC 3339, UTC" });

export const OrderItem = Type.Object(
  {
    sku: Text(64),
    qty: Type.Integer({ minimum: 1, maximum: 100 }),
  },
  closed,
);
export type OrderItem = Static<typeof OrderItem>;

/** JSON Schema cannot express "no sku twice": `repeatedSku` checks it. */
export const OrderItems = Type.Array(OrderItem, { minItems: 1, maxItems: 20 });

/** Body of `POST /order`. */
export const PlaceOrder = Type.Object(
  {
    user_id: UserId,
    items: OrderItems,
    kitchen: Type.Optional(Kitchen),
  },
  {
    ...closed,
    examples: [{ user_id: "u1", items: [{ sku: "burger", qty: 1 }] }],
  },
);
export type PlaceOrder = Static<typeof PlaceOrder>;

/** An `Idempotency-Key`: 1-128 visible ASCII characters. */
export const IdempotencyKey = Type.String({ pattern: "^[!-~]{1,128}$" });

export const OrderStatus = Type.Union([
  Type.Literal("placed"),
  Type.Literal("reserved"),
  Type.Literal("confirmed"),
  Type.Literal("failed"),
]);
export type OrderStatus = Static<typeof OrderStatus>;

/** Items as they were accepted, perhaps under rules less strict than today's. */
const StoredItems = Type.Array(Type.Object({ sku: Type.String(), qty: Type.Integer() }));

/** An order as `GET /orders/:id` shows it; `steps` are in the order in which they can happen. */
export const Order = Type.Object({
  order_id: OrderId,
  user_id: Type.String(),
  kitchen: Type.String(),
  items: StoredItems,
  status: OrderStatus,
  reason: Type.Optional(Type.String()),
  placed_at: Timestamp,
  steps: Type.Array(Type.Object({ status: OrderStatus, at: Timestamp })),
});
export type Order = Static<typeof Order>;

export const OrderPage = Type.Object({
  orders: Type.Array(Order),
  next_after: Type.Optional(OrderId),
});

/** Answer of `POST /order` where the order is only accepted (202). */
export const OrderAccepted = Type.Object({
  order_id: OrderId,
  status: OrderStatus,
});

/** Answer of `POST /order` where the whole workflow ran (201). */
export const OrderConfirmed = Type.Object({
  order_id: OrderId,
  status: OrderStatus,
  notification: Type.Union([Type.Literal("sent"), Type.Literal("pending")]),
});

/** Body of `POST /reserve`. */
export const Reserve = Type.Object(
  { order_id: OrderId, kitchen: Kitchen, items: OrderItems },
  closed,
);

/** Body of `POST /release`. */
export const Release = Type.Object({ order_id: OrderId }, closed);

/** Body of `POST /send`. */
export const Send = Type.Object({ order_id: OrderId, user_id: UserId, kitchen: Kitchen }, closed);

export const RejectReason = Type.Union([
  Type.Literal("unknown_kitchen"),
  Type.Literal("unknown_item"),
  Type.Literal("out_of_stock"),
  Type.Literal("order_released"),
]);
export type RejectReason = Static<typeof RejectReason>;

export const Reservation = Type.Object({
  order_id: OrderId,
  state: Type.Union([Type.Literal("reserved"), Type.Literal("rejected"), Type.Literal("released")]),
  kitchen: Type.Optional(Type.String()),
  items: StoredItems,
  reason: Type.Optional(RejectReason),
  at: Timestamp,
});
export type Reservation = Static<typeof Reservation>;

export const StockRow = Type.Object({
  kitchen: Type.String(),
  sku: Type.String(),
  quantity: Type.Integer({ minimum: 0 }),
});
export type StockRow = Static<typeof StockRow>;

export const Notification = Type.Object({
  order_id: OrderId,
  user_id: Type.String(),
  text: Type.String(),
  sent_at: Timestamp,
});
export type Notification = Static<typeof Notification>;

export const NotificationPage = Type.Object({
  notifications: Type.Array(Notification),
  next_after: Type.Optional(OrderId),
});

/** The first sku that occurs twice in `items`, or undefined. */
export function repeatedSku(items: readonly OrderItem[]): string | undefined {
  const seen = new Set<string>();
  for (const { sku } of items) {
    if (seen.has(sku)) return sku;
    seen.add(sku);
  }
  return undefined;
}
