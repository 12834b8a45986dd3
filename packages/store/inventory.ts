import type { Database } from "bun:sqlite";
import type { OrderItem, RejectReason, Reservation, StockRow } from "@lab/contracts/order";
import { Problem } from "@lab/contracts/problem";
import { KITCHENS, SKUS } from "@lab/workflow/menu";
import { type Decision, decideReservation } from "@lab/workflow/reservation";
import type { Reused } from "./ledger.ts";
import type { Migration } from "./store.ts";

export const INVENTORY_SCHEMA: Migration[] = [
  {
    name: "inventory-1",
    sql: `
      CREATE TABLE stock (
        kitchen TEXT NOT NULL,
        sku TEXT NOT NULL,
        quantity INTEGER NOT NULL CHECK (quantity >= 0),
        PRIMARY KEY (kitchen, sku)
      ) STRICT, WITHOUT ROWID;
      CREATE TABLE reservations (
        order_id TEXT PRIMARY KEY,
        state TEXT NOT NULL CHECK (state IN ('reserved','rejected','released')),
        kitchen TEXT,
        items TEXT NOT NULL,
        reason TEXT,
        detail TEXT,
        at TEXT NOT NULL,
        CHECK ((state = 'rejected') = (reason IS NOT NULL))
      ) STRICT, WITHOUT ROWID;`,
  },
  {
    name: "inventory-2",
    // Null where it isn't known, as in POST /reserve.
    sql: "ALTER TABLE reservations ADD COLUMN user_id TEXT;",
  },
];

interface ReservationRow {
  order_id: string;
  state: Reservation["state"];
  kitchen: string | null;
  items: string;
  reason: RejectReason | null;
  detail: string | null;
  at: string;
  user_id: string | null;
}

/** Stock and reservations. Call the writers inside `store.commit`. */
export class Inventory {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  /** Adds `quantity` of every item to every kitchen, where the item has no stock row yet. */
  open(quantity: number): void {
    const add = this.#db.query("INSERT INTO stock VALUES (?, ?, ?) ON CONFLICT DO NOTHING");
    for (const kitchen of KITCHENS) {
      for (const sku of SKUS) add.run(kitchen, sku, quantity);
    }
  }

  /**
   * Reserves all items of an order or none. Idempotent by order id: the first decision is final.
   * Another order under the same id is neither reserved nor rejected.
   */
  reserve(
    orderId: string,
    kitchen: string,
    items: OrderItem[],
    userId: string | null = null,
  ): Decision | Reused {
    const before = this.#row(orderId);
    if (before) {
      return isOf(before, kitchen, items, userId)
        ? decisionOf(before)
        : { kind: "reused", detail: `${orderId} is the id of another order` };
    }
    const decision = decideReservation(
      kitchen,
      items,
      (name) => KITCHENS.includes(name),
      (sku) => this.#quantity(kitchen, sku),
    );
    if (decision.kind === "reserved") {
      this.#move(kitchen, items, -1);
      this.#insert(orderId, "reserved", { kitchen, items, userId });
    } else {
      this.#insert(orderId, "rejected", { kitchen, items, userId, ...decision });
    }
    return decision;
  }

  /**
   * Releases an order's stock. Idempotent, and it takes precedence over a later reserve: for an
   * order that is not known yet it stores a tombstone.
   */
  release(orderId: string): void {
    const before = this.#row(orderId);
    if (!before) {
      this.#insert(orderId, "released", {});
    } else if (before.state === "reserved") {
      this.#move(before.kitchen as string, JSON.parse(before.items) as OrderItem[], +1);
      this.#db
        .query("UPDATE reservations SET state = 'released', at = ? WHERE order_id = ?")
        .run(new Date().toISOString(), orderId);
    }
  }

  /** Throws a `Problem` for an unknown order. */
  reservation(orderId: string): Reservation {
    const row = this.#row(orderId);
    if (!row) throw new Problem("order_not_found", orderId, { orderId });
    return {
      order_id: row.order_id,
      state: row.state,
      ...(row.kitchen === null ? {} : { kitchen: row.kitchen }),
      items: JSON.parse(row.items) as OrderItem[],
      ...(row.reason === null ? {} : { reason: row.reason }),
      at: row.at,
    };
  }

  /** Units left, of one kitchen or of all. */
  stock(kitchen?: string): StockRow[] {
    return this.#db
      .query<StockRow, [string | null]>(
        "SELECT * FROM stock WHERE kitchen = ?1 OR ?1 IS NULL ORDER BY kitchen, sku",
      )
      .all(kitchen ?? null);
  }

  #quantity(kitchen: string, sku: string): number | undefined {
    return this.#db
      .query<{ quantity: number }, [string, string]>(
        "SELECT quantity FROM stock WHERE kitchen = ? AND sku = ?",
      )
      .get(kitchen, sku)?.quantity;
  }

  #move(kitchen: string, items: OrderItem[], sign: 1 | -1): void {
    const move = this.#db.query(
      "UPDATE stock SET quantity = quantity + ? WHERE kitchen = ? AND sku = ?",
    );
    for (const { sku, qty } of items) move.run(sign * qty, kitchen, sku);
  }

  #insert(
    orderId: string,
    state: Reservation["state"],
    of: {
      kitchen?: string;
      items?: OrderItem[];
      userId?: string | null;
      reason?: RejectReason;
      detail?: string;
    },
  ): void {
    this.#db
      .query("INSERT INTO reservations VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
      .run(
        orderId,
        state,
        of.kitchen ?? null,
        JSON.stringify(of.items ?? []),
        of.reason ?? null,
        of.detail ?? null,
        new Date().toISOString(),
        of.userId ?? null,
      );
  }

  #row(orderId: string): ReservationRow | null {
    return this.#db
      .query<ReservationRow, [string]>("SELECT * FROM reservations WHERE order_id = ?")
      .get(orderId);
  }
}

/** Whether a row may belong to that order, as far as its owner is known. */
function isOf(row: ReservationRow, kitchen: string, items: OrderItem[], userId: string | null) {
  // A tombstone: released before the order was known.
  if (row.kitchen === null) return true;
  const ofUser = row.user_id === null || userId === null || row.user_id === userId;
  return ofUser && row.kitchen === kitchen && Bun.deepEquals(JSON.parse(row.items), items);
}

function decisionOf(row: ReservationRow): Decision {
  switch (row.state) {
    case "reserved":
      return { kind: "reserved" };
    case "rejected":
      return {
        kind: "rejected",
        reason: row.reason as RejectReason,
        detail: row.detail ?? "",
      };
    case "released":
      return {
        kind: "rejected",
        reason: "order_released",
        detail: "the order was released before",
      };
    default:
      return row.state satisfies never;
  }
}
