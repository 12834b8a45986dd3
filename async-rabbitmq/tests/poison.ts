import {
  encodeEvent,
  type InvalidReason,
  MAX_EVENT_BYTES,
  newEvent,
  type OrderPlaced,
} from "@lab/contracts/events";
import { newId } from "@lab/contracts/ids";

/** A way to corrupt a good event permanently, and the reason that the contract gives for it. */
export interface Poison {
  kind: string;
  reason: InvalidReason;
  spoil(event: string): Uint8Array;
}

export const POISONS: readonly Poison[] = [
  {
    kind: "not JSON",
    reason: "not_json",
    spoil: (event) => bytes(event.slice(0, -10)),
  },
  {
    kind: "wrong schema",
    reason: "wrong_schema",
    spoil: (event) => bytes(event.replace('"user_id"', '"customer"')),
  },
  {
    kind: "qty a string",
    reason: "wrong_schema",
    spoil: (event) => bytes(event.replace(/"qty":(\d+)/, '"qty":"$1"')),
  },
  { kind: "empty", reason: "empty", spoil: () => bytes("") },
  {
    // White space after a JSON text is still JSON: only the size is wrong.
    kind: "1 MiB",
    reason: "too_large",
    spoil: (event) => bytes(event.padEnd(16 * MAX_EVENT_BYTES)),
  },
  {
    kind: "invalid UTF-8",
    reason: "invalid_utf8",
    spoil: (event) => {
      const spoilt = bytes(event);
      // Inside the user's id: the JSON around it stays valid.
      spoilt[event.indexOf('"user_id":"') + 11] = 0xff;
      return spoilt;
    },
  },
  {
    kind: "unknown type",
    reason: "unknown_type",
    spoil: (event) => bytes(event.replace(/"type":"\w+"/, '"type":"OrderTeleported"')),
  },
];

/** An InventoryReserved of an order that nobody has placed, to be corrupted. */
export function foreignReservation(): string {
  return encodeEvent(
    newEvent("InventoryReserved", "inventory-service", {
      order_id: newId(),
      user_id: "nobody",
      kitchen: "main",
      items: [{ sku: "burger", qty: 1 }],
    } satisfies OrderPlaced["data"]),
  );
}

function bytes(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
