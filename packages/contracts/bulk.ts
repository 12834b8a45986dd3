import { type Static, Type } from "@sinclair/typebox";
import { OrderId } from "./ids.ts";

/** Body of `POST /orders/bulk`. Without a rate all orders are placed at once. */
export const BulkRequest = Type.Object(
  {
    count: Type.Integer({ minimum: 1, maximum: 1_000_000 }),
    seed: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, default: 1 }),
    kitchens: Type.Integer({ minimum: 1, maximum: 25, default: 24 }),
    rate_per_s: Type.Optional(Type.Number({ minimum: 0.1, maximum: 100_000 })),
    fail_rate: Type.Number({ minimum: 0, maximum: 1, default: 0 }),
  },
  { additionalProperties: false },
);
export type BulkRequest = Static<typeof BulkRequest>;

/** The progress of a bulk stream. */
export const Bulk = Type.Object({
  bulk_id: OrderId,
  state: Type.Union([Type.Literal("running"), Type.Literal("finished")]),
  placed: Type.Integer(),
  request: BulkRequest,
  started_at: Type.String(),
  finished_at: Type.Optional(Type.String()),
});
export type Bulk = Static<typeof Bulk>;
