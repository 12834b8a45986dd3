import type { OrderStatus } from "@lab/contracts/order";

/**
 * Whether an order may go from one status to another. Forward only: `placed -> reserved ->
 * confirmed`, or `placed -> failed`. Steps may be skipped, because a consumer can receive the
 * confirmation before the reservation.
 */
export function mayBecome(from: OrderStatus, to: OrderStatus): boolean {
  switch (from) {
    case "placed":
      return to !== "placed";
    case "reserved":
      return to === "confirmed";
    case "confirmed":
    case "failed":
      return false;
    default:
      return from satisfies never;
  }
}
