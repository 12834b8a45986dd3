import { newId } from "@lab/contracts/ids";
import type { Order, OrderItem } from "@lab/contracts/order";
import { KITCHENS, SKUS } from "@lab/workflow/menu";
import type { Model } from "@lab/evidence/evidence";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import type { Outcome } from "@lab/lab/load/history";
import { repeatsIn } from "@lab/lab/services/logs";
import { DIFFERENCES, PROMISES, type Promises } from "@lab/evidence/promises";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { eventually, settled } from "@lab/lab/host/waiting";
import { count, read } from "@lab/lab/probes/databases";
import { setFaults } from "@lab/lab/services/set-faults";
import { judge, keepOrdering } from "../common.ts";

/** Units of everything in every kitchen. */
const STOCK = 3;
const CLIENTS = 5;
/** A client that waits for so long has given up. */
const IMPATIENT_MS = 200;

/** What only the model itself can do. */
interface ModelActions extends AsyncDisposable {
  /** Has the services hear of the order once more, as after a lost reply or ack; gives how many requests or messages that were. */
  repeat(orderId: string): Promise<number>;
  /** Returns once all orders that were placed with Inventory dead are where they wait: there. */
  ordersWaitIn?(count: number): Promise<Promises["ordersWaitIn"]>;
  /** Sends Inventory what can never be valid; returns once it is where it belongs: there. */
  sendInvalid(): Promise<Promises["invalidGoesTo"]>;
  /** Has Inventory hear of another order under an id that it knows; returns once that is where it belongs, with its reason: there. */
  reuseId(order: Order): Promise<Promises["invalidGoesTo"]>;
  /** Order ids of a kitchen as Inventory has worked on them, where order is promised. */
  workedOn?(kitchen: string): Promise<string[]>;
  /** Whether a look at the past gives what is known now, where there is a log. */
  lookBack?(): Promise<boolean>;
}

interface Plan {
  model: Model;
  actions(trial: Trial): Promise<ModelActions>;
}

interface Subject {
  trial: Trial;
  actions: ModelActions;
  its: Promises;
  struck: { kills: number; faults: number };
}

/** What was seen, and what should have been. */
type Kept = [seen: unknown, promised: unknown];

/** The same properties for each model, and those in which they differ by the table of PROMISES. */
export function testPromises({ model, actions: open }: Plan): void {
  experiment(
    {
      name: "promises",
      model,
      question: "Does the model keep what the comparison says it promises?",
      method: `One suite of properties for the three models, on running services with ${STOCK} units of everything in every kitchen. Where the models differ, a table says what each promises; README's comparison is made from the same table.`,
      disproof: "A promise that isn't kept, or anything illegal in the checker's eyes at the end.",
      requirements: [],
      parameters: { stock_units: STOCK },
    },
    async (run) => {
      const env = { OPENING_STOCK: String(STOCK), INVENTORY_TIMEOUT_MS: "500" };
      await using trial = await trialOf(run, "promises", { env });
      await using actions = await open(trial);
      const its = PROMISES[model];
      const struck = { kills: 0, faults: 0 };
      const kept = new Map<string, Kept>();
      for (const [title, keep] of Object.entries(SUITE)) {
        run.progress(title);
        const seen = await keep({ trial, actions, its, struck });
        if (seen !== undefined) kept.set(title, seen);
      }
      table(run, its, kept);
      for (const [title, [seen, promised]] of kept) run.holds(title, seen, promised);
      await judge(run, trial, struck);
    },
  );
}

function table(run: Run, its: Promises, kept: ReadonlyMap<string, Kept>): void {
  run.figure("promises", kept.size);
  run.table({
    id: "promises",
    title: "Promised, and kept",
    columns: [{ name: "promise" }, { name: "kept" }],
    rows: Object.keys(SUITE).map((title) => {
      const seen = kept.get(title);
      if (seen === undefined) return [title, "not promised"];
      return [title, Bun.deepEquals(seen[0], seen[1]) ? "yes" : "NO"];
    }),
  });
  run.table({
    id: "differences",
    title: "What the models promise differently",
    columns: [{ name: "promise" }, { name: run.evidence.model }],
    rows: Object.values(DIFFERENCES).map(({ says, title }) => [title, says(its)]),
  });
}

/** The properties by title, in this order: one leaves Inventory dead for the next. Undefined where the model doesn't promise it. */
const SUITE: Record<string, (subject: Subject) => Promise<Kept | undefined>> = {
  "a good order gets its answer, can be looked up, and ends well": async ({ trial, its }) => {
    const order = orderOf(shelf());
    const { order_id = "", status } = await trial.place(order);
    const shown = await ended(trial, order_id);
    const { kitchen, items, user_id, status: end } = shown;
    return [
      { status, end, order: { kitchen, items, user_id } },
      { status: its.answer, end: trial.facts.success, order },
    ];
  },

  "the same key twice is one order; with another body it is refused": async ({ trial, its }) => {
    const order = orderOf(shelf());
    const first = await trial.place(order, { key: "twice" });
    const again = await trial.place(order, { key: "twice" });
    const other = await trial.place({ ...order, user_id: "other" }, { key: "twice" });
    return [
      [first.status, again.status, again.order_id === first.order_id, other.status, other.code],
      [its.answer, its.answer, true, 422, "idempotency_key_reused"],
    ];
  },

  "a bad order is refused and changes nothing": async ({ trial }) => {
    // What an earlier order still reserves would be taken for this one's.
    await trial.settle();
    const before = stored(trial);
    const { code, status } = await trial.place({ user_id: "u1", items: [] });
    return [
      { code, status, ...stored(trial) },
      { code: "invalid_request", status: 422, ...before },
    ];
  },

  "out of stock is no, and takes nothing of the rest": async ({ trial, its }) => {
    const there = shelf();
    const { kitchen } = there;
    const missing = { kitchen, sku: SKUS.find((sku) => sku !== there.sku) as string };
    const before = left(trial, missing);
    const items = [item(there, 1), item(missing, STOCK + 1)];
    const answer = await trial.place({ user_id: "u1", kitchen, items });
    const told = its.answer === 201 ? [409, "out_of_stock"] : [202, undefined];
    const { reason, status } = await ended(trial, answer.order_id ?? "");
    return [
      [answer.status, answer.code, status, reason, left(trial, there), left(trial, missing)],
      [...told, "failed", "out_of_stock", STOCK, before],
    ];
  },

  "of the clients that race for the last unit one gets it": async ({ trial }) => {
    const last = shelf();
    await trial.place(orderOf(last, STOCK - 1));
    const answers = await atOnce(() => trial.place(orderOf(last)));
    const ends = await Promise.all(answers.map((answer) => ended(trial, answer.order_id ?? "")));
    const won = ends.filter(({ status }) => status === trial.facts.success).length;
    return [
      { won, left: left(trial, last) },
      { won: 1, left: 0 },
    ];
  },

  "an order never steps back": async ({ trial }) => {
    const answers = await atOnce(() => trial.place(orderOf(shelf())));
    const seen = await Promise.all(answers.map((answer) => statuses(trial, answer.order_id ?? "")));
    return [seen.filter((one) => !isForward(one)), []];
  },

  "a message that comes again takes nothing and tells nobody again": async (subject) => {
    const { actions, its, trial } = subject;
    const from = shelf();
    const { order_id = "" } = await trial.place(orderOf(from));
    await ended(trial, order_id);
    const before = knownByLedger(trial);
    const repeated = await actions.repeat(order_id);
    await trial.settle();
    const byLedger = knownByLedger(trial) > before;
    return [
      { repeated: repeated > 0, left: left(trial, from), told: told(subject, order_id), byLedger },
      {
        repeated: true,
        left: STOCK - 1,
        told: its.tellsCustomer ? 1 : 0,
        byLedger: its.repeatKnownBy !== "order id",
      },
    ];
  },

  "what can never be valid goes where somebody can look at it": async ({ actions, its }) => [
    await actions.sendInvalid(),
    its.invalidGoesTo,
  ],

  "an id that comes again for something else is no repetition, and is seen": async (subject) => {
    const { actions, its, trial } = subject;
    const from = shelf();
    const { order_id = "" } = await trial.place(orderOf(from));
    const order = await ended(trial, order_id);
    const where = await actions.reuseId(order);
    await trial.settle();
    return [
      { where, left: left(trial, from), told: told(subject, order_id) },
      { where: its.invalidGoesTo, left: STOCK - 1, told: its.tellsCustomer ? 1 : 0 },
    ];
  },

  "a customer is told exactly once": async (subject) => {
    const { its, trial } = subject;
    if (!its.tellsCustomer) return undefined;
    const answers = await atOnce(() => trial.place(orderOf(shelf())));
    for (const { order_id = "" } of answers) await ended(trial, order_id);
    return [
      answers.map(({ order_id = "" }) => told(subject, order_id)),
      Array.from(answers, () => 1),
    ];
  },

  "a kitchen's orders are worked on in their order": async ({ actions, its, trial }) => {
    if (!its.keepsOrder) return undefined;
    const kitchen = KITCHENS.at(-1) as string;
    const placed: string[] = [];
    for (const sku of SKUS) {
      for (let n = 0; n < STOCK; n += 1) {
        const { order_id = "" } = await trial.place(orderOf({ kitchen, sku }));
        placed.push(order_id);
      }
    }
    await ended(trial, placed.at(-1) ?? "");
    return [await actions.workedOn?.(kitchen), placed];
  },

  "an unknown outcome is resolved, and asking again under its key is no second order": async ({
    its,
    struck,
    trial,
  }) => {
    const { inventory, order } = trial.campus;
    struck.faults += 1;
    // Who answers with the result waits for Inventory.
    const hung = its.answer === 201 ? inventory : order;
    await setFaults(hung, { hang: true });
    const orders = Array.from({ length: CLIENTS }, (_, n) => ({
      order: orderOf(shelf()),
      key: `impatient-${n}`,
    }));
    const given = await Promise.all(
      orders.map(({ key, order: one }) => trial.place(one, { key, timeoutMs: IMPATIENT_MS })),
    );
    await setFaults(hung, { hang: false });
    await trial.settle();
    await Promise.all(orders.map(({ key, order: one }) => trial.place(one, { key })));
    await trial.settle();
    const stands = "SELECT count(*) FROM orders WHERE idempotency_key LIKE 'impatient-%'";
    return [
      [given.map(({ kind }) => kind), count(order, stands)],
      [Array.from(given, () => "unknown"), CLIENTS],
    ];
  },

  "a refusal that left nothing may be tried again under its key, a no stays no": async ({
    its,
    struck,
    trial,
  }) => {
    // The other models refuse nobody for want of Inventory.
    if (its.answer !== 201) return undefined;
    const { inventory } = trial.campus;
    const tooMany = orderOf(shelf(), STOCK + 1);
    const order = orderOf(shelf());
    const no = await trial.place(tooMany, { key: "too-many" });
    await inventory.kill();
    struck.kills += 1;
    const refused = [await trial.place(order, { key: "again" })];
    refused.push(await trial.place(order, { key: "again" }));
    await inventory.restart();
    const other = await trial.place({ ...order, user_id: "other" }, { key: "again" });
    const atOnceAgain = await atOnce(() => trial.place(order, { key: "again" }));
    const done = await trial.place(order, { key: "again" });
    const noAgain = await trial.place(tooMany, { key: "too-many" });
    const said = new Set(
      atOnceAgain.map(({ code = "", order_id }) => `${order_id} ${code}`.trim()),
    );
    said.delete(`${done.order_id} order_in_progress`);
    return [
      [
        no.code,
        ...refused.map(({ code }) => code),
        other.code,
        [...said],
        done.status,
        noAgain.code,
      ],
      [
        "out_of_stock",
        "inventory_unreachable",
        "inventory_unreachable",
        "idempotency_key_reused",
        [done.order_id],
        201,
        "out_of_stock",
      ],
    ];
  },

  "while Inventory is dead orders wait, or are refused at once": async ({
    actions,
    its,
    struck,
    trial,
  }) => {
    const { inventory, order } = trial.campus;
    await inventory.kill();
    struck.kills += 1;
    const answers = await atOnce(() => trial.place(orderOf(shelf())));
    const waits = its.ordersWaitIn !== null;
    const statusOf = ({ order_id = "" }: Outcome) => look(order.url, order_id);
    const orders = await settled("the orders", () => Promise.all(answers.map(statusOf)));
    const where = (await actions.ordersWaitIn?.(answers.length)) ?? null;
    return [
      [answers.map(({ status }) => status), orders.map(({ status }) => status), where],
      [
        answers.map(() => (waits ? 202 : 503)),
        answers.map(() => (waits ? "placed" : "failed")),
        its.ordersWaitIn,
      ],
    ];
  },

  "what was acknowledged survives SIGKILL of every service at once": async ({ struck, trial }) => {
    const { inventory, services } = trial.campus;
    // Inventory is still dead from the property before. Restarting and killing it here would cost Kafka's session timeout twice.
    const others = services.filter((service) => service !== inventory);
    const load = keepOrdering(trial, 200);
    await load.more(50);
    await Promise.all(others.map((service) => service.kill()));
    struck.kills += others.length;
    await load.stop();
    await Promise.all(services.map((service) => service.restart()));
    await trial.settle();
    const { dead, lost, stuck } = await trial.verdict();
    return [
      [lost, stuck, dead],
      [[], [], []],
    ];
  },

  "the past can be looked at again, and is the same": async ({ actions, its }) =>
    its.looksBackTo === "the log, replayed" ? [await actions.lookBack?.(), true] : undefined,
};

/** The order's event with another order's id inside: same source, same event id. */
export function sameIdAgain({ campus }: Trial, { order_id }: Order): string {
  const sql = "SELECT body FROM outbox WHERE body ->> 'subject' = ?";
  const [{ body }] = read<{ body: string }>(campus.order, sql, order_id) as [{ body: string }];
  return body.replaceAll(order_id, newId());
}

interface Shelf {
  kitchen: string;
  sku: string;
}

let shelves = 0;

/** A kitchen and dish that no earlier property has used; the last kitchen is kept for the property about order. */
function shelf(): Shelf {
  const n = shelves++;
  const kitchen = KITCHENS[Math.floor(n / SKUS.length)];
  if (kitchen === undefined || kitchen === KITCHENS.at(-1)) throw new Error("too few kitchens");
  return { kitchen, sku: SKUS[n % SKUS.length] as string };
}

function item({ sku }: Shelf, qty: number): OrderItem {
  return { sku, qty };
}

function orderOf(from: Shelf, qty = 1) {
  return { user_id: "u1", kitchen: from.kitchen, items: [item(from, qty)] };
}

function atOnce<T>(work: () => Promise<T>): Promise<T[]> {
  return Promise.all(Array.from({ length: CLIENTS }, work));
}

async function look(url: string, orderId: string): Promise<Order> {
  return (await (await fetch(`${url}/orders/${orderId}`)).json()) as Order;
}

/** The order when it has ended. */
function ended(trial: Trial, orderId: string): Promise<Order> {
  return eventually(
    `order ${orderId} ends`,
    async () => {
      const order = await look(trial.campus.order.url, orderId);
      if (order.status === "failed" || order.status === trial.facts.success) return order;
      throw new Error(order.status);
    },
    { everyMs: 10 },
  );
}

/** Every status that a client sees who asks again and again until the order has ended. */
async function statuses(trial: Trial, orderId: string): Promise<string[]> {
  const seen: string[] = [];
  await eventually(
    `order ${orderId} ends`,
    async () => {
      const { status } = await look(trial.campus.order.url, orderId);
      seen.push(status);
      return status === "failed" || status === trial.facts.success;
    },
    { everyMs: 1 },
  );
  return seen;
}

function isForward(seen: readonly string[]): boolean {
  const ranks = seen.map((status) => ["placed", "reserved", "confirmed"].indexOf(status));
  return ranks.every((rank, n) => rank >= 0 && rank >= (ranks[n - 1] ?? 0));
}

function left({ campus }: Trial, { kitchen, sku }: Shelf): number {
  const sql = "SELECT quantity FROM stock WHERE kitchen = ? AND sku = ?";
  return count(campus.inventory, sql, kitchen, sku);
}

function stored({ campus }: Trial) {
  return {
    orders: count(campus.order, "SELECT count(*) FROM orders"),
    units: count(campus.inventory, "SELECT sum(quantity) FROM stock"),
  };
}

function knownByLedger({ campus }: Trial): number {
  return campus.services.reduce((sum, { logFile }) => sum + repeatsIn(logFile), 0);
}

function told({ its, trial }: Subject, orderId: string): number {
  if (!its.tellsCustomer) return 0;
  const sql = "SELECT count(*) FROM notifications WHERE order_id = ?";
  return count(trial.campus.downstream, sql, orderId);
}
