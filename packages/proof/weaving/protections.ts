import type { Edit } from "./weave.ts";

/** A protection's name, and what takes it away: passages of files, and what stands there instead. */
export type Protections = Record<string, readonly Edit[]>;

/** The edits that take those protections away: `names` with commas between. Throws for an unknown one. */
export function editsWithout(names: string, protections: Protections): Edit[] {
  const wanted = names.split(",").filter(Boolean);
  const unknown = wanted.filter((name) => !Object.hasOwn(protections, name));
  if (unknown.length > 0) {
    const known = Object.keys(protections).join(", ");
    throw new Error(`LAB_WITHOUT=${names}: no ${unknown.join(", ")} among ${known}`);
  }
  return wanted.flatMap((name) => protections[name] ?? []);
}

const inStore = (file: string, passage: string, instead: string): Edit => ({
  file: `packages/store/${file}.ts`,
  passage,
  instead,
});

/** What keeps the promises in code that models share. */
const SHARED = {
  /** Answers and acks follow the commit. Without it all work of 5 s is one open transaction, which SIGKILL rolls back. */
  "commit-before-answer": [
    inStore(
      "store",
      "this.#files = new OpenFiles(path);",
      `this.#files = new OpenFiles(path);
       this.db.run("BEGIN IMMEDIATE");
       setInterval(() => this.db.run("COMMIT; BEGIN IMMEDIATE"), 5_000).unref();`,
    ),
    inStore(
      "store",
      "note<T>(work: () => T): T {",
      "note<T>(work: () => T): T { if (this.db.inTransaction) return work();",
    ),
  ],
  /** A client's retry under its key is the same order. */
  "idempotency-key": [
    inStore(
      "orders",
      "placeOnce(request: PlaceOrder, idempotencyKey?: string): Accepted {",
      "placeOnce(request: PlaceOrder, idempotencyKey) { idempotencyKey = undefined;",
    ),
  ],
  /** A call that was given up is followed by a release. */
  release: [
    inStore("releases", "add(orderId: string): void {", "add(orderId: string): void { return;"),
  ],
  /** A release wins over the reserve that comes after it. */
  tombstone: [inStore("inventory", `this.#insert(orderId, "released", {});`, "")],
  /** No more is taken than there is. The schema would hold it, too. */
  "stock-check": [
    inStore(
      "inventory",
      "export class Inventory { readonly #db: Database; constructor(db: Database) {",
      `export class Inventory { readonly #db: Database; constructor(db: Database) {
       db.run("PRAGMA ignore_check_constraints = ON");`,
    ),
    inStore("inventory", `"SELECT quantity FROM stock`, `"SELECT 1e9 AS quantity FROM stock`),
  ],
  /** Stock is taken once for an order id. */
  "idempotent-reserve": [
    inStore(
      "inventory",
      "const before = this.#row(orderId); if (before) {",
      "const before = this.#row(orderId); if (false) {",
    ),
    inStore("inventory", "INSERT INTO reservations", "REPLACE INTO reservations"),
  ],
  /** A customer is told once of an order id. */
  "idempotent-send": [inStore("notifications", "if (before) {", "if (false) {")],
  /** Events to be published are stored beside their cause. A temporary table hides the stored one, and ends with the process. */
  outbox: [
    inStore(
      "outbox",
      "constructor(db: Database) { this.#db = db;",
      `constructor(db: Database) { this.#db = db;
       db.run(OUTBOX_SCHEMA[0].sql.replace("TABLE", "TEMP TABLE"));`,
    ),
  ],
  /** A processed message is known by its id. */
  ledger: [
    inStore(
      "ledger",
      "once(event: LabEvent, effect: () => Processed): Processed {",
      "once(event: LabEvent, effect: () => Processed): Processed { return effect();",
    ),
  ],
  /** An order's status never goes back. */
  "forward-only": [inStore("orders", "if (!mayBecome(row.status, status)) {", "if (false) {")],
  /** A database that can't be written for a while costs a message no attempt. */
  patience: [
    {
      file: "packages/runtime/transient.ts",
      passage: "if (stopping || !isTransient(error)) throw error;",
      instead: "throw error;",
    },
  ],
  /** The fold counts an event id once. */
  deduplication: [inStore("analytics", "if (known) continue;", "")],
  /** The fold goes by the time of the event, not by the clock. */
  "event-time": [
    inStore(
      "analytics",
      "countedBy(event)",
      "countedBy({ ...event, time: new Date().toISOString() })",
    ),
  ],
  /** A replay takes the place of equal metrics only. */
  "equal-swap": [
    inStore(
      "analytics",
      "const isAccepted = accepted === 1 && complete;",
      "const isAccepted = true;",
    ),
  ],
} satisfies Protections;

/** Those of them that a model has. */
export function only(...names: (keyof typeof SHARED)[]): Protections {
  return Object.fromEntries(names.map((name) => [name, SHARED[name]]));
}
