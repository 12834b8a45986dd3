import { Type } from "@sinclair/typebox";

const UUID_PATTERN = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$";

/** A lower-case UUID. */
export const Uuid = Type.String({ pattern: UUID_PATTERN });

export const OrderId = Type.String({
  pattern: UUID_PATTERN,
  description: "the order, the same in every service and message",
});

/** A new id for an order or an event: UUIDv7, so ids sort by creation time. */
export function newId(): string {
  return Bun.randomUUIDv7();
}

/**
 * The id of the event that `consumer` publishes because of a message: UUIDv5 (RFC 9562), so
 * publishing it again gives the same id and a ledger recognizes it. Derived from the message's
 * source too: two producers may use the same id.
 */
export function derivedId(cause: { id: string; source: string }, consumer: string): string {
  return Bun.randomUUIDv5(`${consumer} ${cause.source}`, cause.id);
}
