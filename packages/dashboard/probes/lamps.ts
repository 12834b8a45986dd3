// The checker's promises as lamps: computed from the stores, and only when nothing is on its way.
import type { Model } from "@lab/evidence/evidence";
import { checkOrders, type Violations } from "@lab/lab/check/checker";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { count, OUTBOX_DEPTH } from "@lab/lab/probes/databases";
import type { Operation } from "@lab/lab/load/history";
import { statSync } from "node:fs";
import type { LampFrame, ServiceFrame } from "../contract/frame.ts";

/** Unchanged for so long, with nothing owed, counts as done: a lost order never ends. */
const QUIET_MS = 3_000;

/** A check reads the whole stores; it rests afterwards for so many times as long, and takes a hundredth of a core at most. */
const RESTS = 100;

/** Each lamp, with the violations that turn it red. */
const LAMPS: Record<string, (keyof Violations)[]> = {
  "Nothing lost": ["lost", "stuck", "swallowed"],
  "Nothing doubled": ["doubled"],
  "Stock conserved": ["oversold", "leaked", "unbalanced"],
  "Each order ends once": ["resurrected", "contradicted"],
};

const WORDS: Partial<Record<keyof Violations, string>> = {
  lost: "promised to the customer, and never ended",
  stuck: "stored, and never ended",
  swallowed: "taken for a duplicate of another",
  doubled: "took effect twice",
  oversold: "more reserved than there was",
  leaked: "holds stock that nobody gets",
  unbalanced: "units too many or too few",
  resurrected: "ended, and then ended otherwise",
  contradicted: "what was told is not what is stored",
};

export interface LampInput {
  services: ServiceFrame[];
  databases: (string | undefined)[];
  /** Messages in queues, or records not yet committed; null where the broker doesn't say. */
  onTheWay: number | null;
  /** Requests of the page without an answer. */
  waiting: number;
  operations: readonly Operation[];
  /** Orders with a dead letter. */
  dead: readonly string[];
  /** Orders whose message or request the page has sent again. */
  repeated: readonly string[];
}

export class Lamps {
  readonly #model: Model;
  #state = "";
  #since = Date.now();
  #looked = "";
  #restsUntil = 0;
  #frames: LampFrame[] = grey("unknown", "no order was placed yet");

  constructor(model: Model) {
    this.#model = model;
  }

  /** Looks, unless there is a reason to wait; returns the lamps. */
  look(input: LampInput): LampFrame[] {
    const reason = this.#whyNot(input);
    if (reason !== undefined) return this.#wait(reason);
    if (this.#looked === this.#state && !this.#frames.some(({ state }) => state === "waiting")) {
      return this.#frames;
    }
    const nowMs = Date.now();
    const restsS = Math.ceil((this.#restsUntil - nowMs) / 1_000);
    if (restsS > 0) return this.#wait({ state: "waiting", says: `looks again in ${restsS} s` });
    this.#looked = this.#state;
    this.#frames = this.#check(input);
    this.#restsUntil = Date.now() + (Date.now() - nowMs) * RESTS;
    return this.#frames;
  }

  /** A promise once broken stays broken until it is looked at again. */
  #wait({ state, says }: Pick<LampFrame, "state" | "says">): LampFrame[] {
    this.#frames = this.#frames.map((lamp) =>
      lamp.state === "broken" ? lamp : { ...lamp, state, says },
    );
    return this.#frames;
  }

  get all(): LampFrame[] {
    return this.#frames;
  }

  #whyNot(input: LampInput): { state: "unknown" | "waiting"; says: string } | undefined {
    const { databases, operations, services } = input;
    const [orders, inventory, downstream] = databases;
    if (!orders || !inventory || !downstream) return { state: "unknown", says: "not started yet" };
    // An order that a customer was promised, and that is stored nowhere, is to be found.
    const isAnyStored = count({ database: orders }, "SELECT EXISTS (SELECT 1 FROM orders)") > 0;
    if (!isAnyStored && operations.length === 0) {
      return { state: "unknown", says: "no order was placed yet" };
    }
    const says = this.#workLeft(input, orders);
    if (says !== undefined) {
      this.#state = "";
      return { state: "waiting", says };
    }
    const state = JSON.stringify([lastCommits(databases as string[]), input.dead.length]);
    if (state !== this.#state) {
      this.#state = state;
      this.#since = Date.now();
    }
    const faulty = services.find(({ faults }) => Object.keys(faults ?? {}).length > 0);
    const quietMs = faulty === undefined ? QUIET_MS : QUIET_MS * 4;
    if (Date.now() - this.#since < quietMs)
      return { state: "waiting", says: "orders are on their way" };
    return undefined;
  }

  /** What work is to be seen. */
  #workLeft({ onTheWay, services, waiting }: LampInput, orders: string): string | undefined {
    const off = services.find((one) => one.state !== "up");
    if (off !== undefined) return `${off.name} is ${off.state}`;
    if (waiting > 0)
      return `${waiting} ${waiting === 1 ? "customer waits" : "customers wait"} for an answer`;
    if (onTheWay === null) return "the broker doesn't answer";
    if (onTheWay > 0) return `${onTheWay} messages are on their way`;
    const owed = owedBy(this.#model, orders);
    return owed > 0 ? `${owed} messages are still to be sent` : undefined;
  }

  #check({ databases, dead, operations, repeated }: LampInput): LampFrame[] {
    const [orders = "", inventory = "", downstream = ""] = databases;
    const verdict = checkOrders({
      model: this.#model,
      operations,
      orders,
      inventory,
      dead,
      ...(factsOf(this.#model).downstream === "notification" && { notification: downstream }),
    });
    return Object.entries(LAMPS).map(([name, kinds]): LampFrame => {
      const found = kinds.flatMap((kind) => verdict[kind].map((what) => ({ kind, what })));
      if (found.length === 0)
        return { name, state: "kept", says: "looked, and found nothing", orders: [] };
      const [first] = found;
      const isShelf = first!.kind === "unbalanced" || first!.kind === "oversold";
      // A shelf has no order's id: what was sent again names the suspects.
      const ids = isShelf
        ? repeated.slice(-3)
        : [...new Set(found.map(({ what }) => what))].slice(0, 5);
      const what = isShelf ? `${first!.what} ` : "";
      const more = found.length > 1 ? ` (${found.length})` : "";
      return {
        name,
        state: "broken",
        says: `${what}${WORDS[first!.kind]}${more}`,
        orders: [...ids],
      };
    });
  }
}

function grey(state: LampFrame["state"], says: string): LampFrame[] {
  return Object.keys(LAMPS).map((name) => ({ name, state, says, orders: [] }));
}

/** What changes with every commit: when its write-ahead log was written last. */
function lastCommits(databases: readonly string[]): number[] {
  return databases.map(
    (database) => statSync(`${database}-wal`, { throwIfNoEntry: false })?.mtimeMs ?? 0,
  );
}

/** Events that wait for the broker, or releases that Inventory hasn't answered. */
function owedBy(model: Model, database: string): number {
  const sql = factsOf(model).broker ? OUTBOX_DEPTH : "SELECT count(*) FROM releases";
  return count({ database }, sql);
}
