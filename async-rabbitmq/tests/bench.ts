import { count, read } from "@lab/lab/probes/databases";
import { encodeEvent, type OrderPlaced } from "@lab/contracts/events";
import { derivedId } from "@lab/contracts/ids";
import type { Run } from "@lab/lab/experiment/experiment";
import { placeOrder } from "@lab/lab/load/load";
import type { Spy } from "@lab/lab/probes/rabbitmq-tools";
import { eventually, settled } from "@lab/lab/host/waiting";
import { type Lab } from "./campus.ts";

/** Units of the one item that each order of the bench asks for. */
export const QTY = 2;

interface Totals {
  orders: number;
  deliveries: number;
  reservations: number;
  confirmations: number;
  stock: number;
  answers: number;
  answersRepeated: number;
}

/** Delivers events by hand, and keeps count of their effects. */
export class Bench {
  readonly lab: Lab;
  readonly run: Run;
  readonly openingStock: number;
  orders = 0;
  deliveries = 0;
  readonly #spy: Spy;
  /** How many answers each event must get at least, by the answer's id. */
  readonly #due = new Map<string, number>();
  readonly #rows: (string | number)[][] = [];
  #noted: Totals;

  constructor(lab: Lab, spy: Spy, run: Run) {
    this.lab = lab;
    this.run = run;
    this.#spy = spy;
    this.#noted = this.totals();
    this.openingStock = this.#noted.stock;
  }

  /** Orders the item, and returns the order's id. */
  async place(): Promise<string> {
    this.orders += 1;
    const outcome = await placeOrder(
      this.lab.campus.order.url,
      { user_id: "u1", items: [{ sku: "burger", qty: QTY }] },
      { history: this.run.history },
    );
    return outcome.order_id ?? "";
  }

  /** The order's event, once it is published: that is its first delivery. */
  async published(orderId: string): Promise<OrderPlaced> {
    const heard = await eventually(
      `OrderPlaced of ${orderId}`,
      () =>
        this.#spy.messages.find(
          ({ body, key }) => key === "order.placed" && body.includes(orderId),
        ),
      { everyMs: 2 },
    );
    const event = JSON.parse(heard.body) as OrderPlaced;
    this.#delivered(event);
    return event;
  }

  /** Puts the event on Inventory's queue once more. */
  async put(event: OrderPlaced): Promise<void> {
    this.#delivered(event);
    await this.lab.rabbit.put(this.lab.names.inventoryQueue, encodeEvent(event), {
      messageId: event.id,
    });
  }

  /**
   * Call when RabbitMQ itself has redelivered an event: it is unknown whether its first answer was
   * published.
   */
  redelivered(): void {
    this.deliveries += 1;
  }

  /** Waits until all messages of Inventory's queue are delivered to a consumer. */
  async allDelivered(): Promise<void> {
    const { names, rabbit } = this.lab;
    await eventually(
      "Inventory's queue has given all away",
      async () => (await rabbit.ready(names.inventoryQueue)) === 0,
    );
  }

  /**
   * Waits until all is answered and nothing changes any more, then records the changes since the
   * last call.
   */
  async note(what: string): Promise<void> {
    await eventually("every delivery is answered", () => {
      const open = [...this.#due].filter(([id, due]) => this.#answers(id).length < due);
      if (open.length > 0) throw new Error(`${open.length} without an answer`);
      return true;
    });
    await eventually("every order is confirmed", () => this.totals().confirmations === this.orders);
    // One more answer may arrive, of which it is unknown whether it was published.
    const now = await eventually("nothing more comes of it", () =>
      settled("the account", () => this.totals(), { forMs: 500 }),
    );
    const was = this.#noted;
    this.#noted = now;
    this.#rows.push([
      what,
      now.deliveries - was.deliveries,
      now.orders - was.orders,
      now.reservations - was.reservations,
      was.stock,
      now.stock,
      now.answers - was.answers,
      now.answersRepeated - was.answersRepeated,
    ]);
  }

  /** The totals so far. */
  totals(): Totals {
    const { inventory, downstream } = this.lab.campus;
    const ids = new Set(this.#answers().map(({ id }) => id));
    const answers = this.#answers().length;
    return {
      orders: this.orders,
      deliveries: this.deliveries,
      reservations: count(
        inventory,
        "SELECT count(*) AS n FROM reservations WHERE state = 'reserved'",
      ),
      confirmations: count(downstream, "SELECT count(*) AS n FROM notifications"),
      stock: count(
        inventory,
        "SELECT quantity AS n FROM stock WHERE kitchen = 'main' AND sku = 'burger'",
      ),
      answers,
      answersRepeated: answers - ids.size,
    };
  }

  /** Ids of answers that were published with different content. */
  contradicted(): string[] {
    const said = new Map<string, string>();
    const contradicted: string[] = [];
    for (const { body, id } of this.#answers()) {
      if ((said.get(id) ?? body) !== body) contradicted.push(id);
      said.set(id, body);
    }
    return contradicted;
  }

  /** Records the counts as a table, and the messages about one event as text. */
  show(event: OrderPlaced): void {
    this.run.table({
      id: "deliveries",
      title: "What each kind of duplicate did",
      columns: [
        { name: "delivered" },
        { name: "deliveries" },
        { name: "new orders" },
        { name: "new reservations" },
        { name: "stock before", unit: "units" },
        { name: "stock after", unit: "units" },
        { name: "answers heard" },
        { name: "of these repeated" },
      ],
      rows: this.#rows,
      note: `Each order asks for ${QTY} of main's burgers. Under another event id the order gets an answer of its own, with the same decision.`,
    });
    const answers = this.#answers(answerId(event)).map(({ body }) => body);
    this.run.excerpt({
      id: "answers",
      title: `The ${answers.length} answers to one event`,
      text: answers.join("\n"),
    });
    const ledger = read<Record<string, string>>(
      this.lab.campus.inventory,
      "SELECT * FROM ledger WHERE event_id = ?",
      event.id,
    );
    this.run.excerpt({
      id: "ledger",
      title: "Its one row in Inventory's ledger",
      text: JSON.stringify(ledger, undefined, 2),
    });
  }

  #delivered(event: OrderPlaced): void {
    this.deliveries += 1;
    const id = answerId(event);
    this.#due.set(id, (this.#due.get(id) ?? 0) + 1);
  }

  /** Inventory's answers, of that id or all. */
  #answers(id?: string): Spy["messages"] {
    return this.#spy.messages.filter(
      (message) => message.key.startsWith("inventory.") && (id === undefined || message.id === id),
    );
  }
}

/** The id of Inventory's answer to that event. */
function answerId(event: OrderPlaced): string {
  return derivedId(event, "inventory-service");
}
