import "./production.ts";
import { OrderId } from "@lab/contracts/ids";
import { IdempotencyKey, OrderStatus } from "@lab/contracts/order";
import { t } from "elysia";

/**
 * Elysia's own integer: a query holds text, and `t.Integer` converts it. Its error has no path: the
 * title names the parameter.
 */
const limit = t.Integer({ title: "limit", minimum: 1, maximum: 1000, default: 100 });

/** Query of a list: `after` is the `next_after` of the previous page. */
export const PageQuery = t.Object({ limit, after: t.Optional(OrderId) });

/** Query of `GET /orders`. */
export const OrderQuery = t.Object({
  limit,
  after: t.Optional(OrderId),
  status: t.Optional(OrderStatus),
});

/** Path parameters of a resource that is found by its order's id. */
export const OrderParams = t.Object({ order_id: OrderId });

/** Headers of `POST /order`. */
export const OrderHeaders = t.Object({
  "idempotency-key": t.Optional(IdempotencyKey),
  traceparent: t.Optional(t.String()),
});
