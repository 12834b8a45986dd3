// One model as the page sees it: its probes, its customers, and what was done to it.
import type { Model } from "@lab/evidence/evidence";
import { labFolder } from "@lab/evidence/folders";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { readState, type UpService } from "@lab/lab/brokers/state";
import { History } from "@lab/lab/load/history";
import { join } from "node:path";
import { Customers } from "../actions/load.ts";
import { Line } from "../actions/network.ts";
import type { ModelFrame } from "../contract/frame.ts";
import type { Lab } from "../contract/lab.ts";
import { deadOrders } from "../probes/dead.ts";
import { Logs } from "../probes/kafka.ts";
import { Lamps } from "../probes/lamps.ts";
import { OrderBook } from "../probes/orders.ts";
import { Processes } from "../probes/processes.ts";
import { Queues } from "../probes/rabbit.ts";
import { Trails } from "../probes/trails.ts";
import { type Seen, watch } from "../probes/watch.ts";

/** Beyond so many answers, those of orders that have ended are forgotten, also where the lamps couldn't look. */
const MOST_ANSWERS = 10_000;
/** The checker is asked no more often: it reads the whole stores. */
const LAMPS_MS = 1_000;

export class Watched {
  readonly model: Model;
  readonly facts;
  readonly customers: Customers;
  readonly book: OrderBook;
  readonly trails: Trails;
  readonly line: Line;
  /** The protections that were taken away here. */
  without: string[] = [];
  /** Orders whose message or request was sent again here. */
  readonly repeated: string[] = [];
  readonly #lab: Lab;
  readonly #lamps: Lamps;
  readonly #logs: Logs;
  readonly #namespace: Seen<string>;
  readonly #processes: Processes;
  readonly #queues: Queues;
  readonly #stats: Seen<Omit<ModelFrame["stats"], "waiting">>;

  constructor(lab: Lab, model: Model, signal: AbortSignal) {
    this.#lab = lab;
    this.model = model;
    this.facts = factsOf(model);
    this.book = new OrderBook(model);
    this.customers = new Customers(
      model,
      new History(join(labFolder, "live", `${model}.jsonl`)),
      (orderId, ms) => this.book.sent(orderId, ms),
    );
    this.trails = new Trails(model);
    this.line = new Line(lab, model);
    this.#lamps = new Lamps(model);
    this.#namespace = watch(1_000, signal, () => lab.namespaceOf(model));
    const namespace = () => this.namespace();
    this.#processes = new Processes(model, signal);
    this.#queues = new Queues(model, namespace, signal);
    this.#logs = new Logs(model, namespace, signal);
    watch(200, signal, () => this.trails.follow(this.#services().map(({ log }) => log)));
    watch(500, signal, () => this.#lookAtOrders());
    // Percentiles of a minute of orders: sorted no more often than the charts are drawn.
    this.#stats = watch(1_000, signal, () => this.#lookAtStats());
    watch(LAMPS_MS, signal, () => this.#lookAtLamps());
    signal.addEventListener("abort", () => {
      this.customers.steady("", 0);
      void this.customers.history.close();
    });
  }

  /** A fresh start may have another. */
  async namespace(): Promise<string> {
    return this.#namespace.value ?? this.#lab.namespaceOf(this.model);
  }

  /** Its services as they were started last; none while they never were. */
  async services(): Promise<UpService[]> {
    const { services } = await readState();
    return services.filter(({ model }) => model === this.model);
  }

  /** When the process of a service that ran at that moment was seen ended. */
  endAfter(name: string, ms: number): number | undefined {
    return this.#processes.endAfter(name, ms);
  }

  /** One of them. Throws while it was never started. */
  async service(name: string): Promise<UpService> {
    const found = (await this.services()).find((one) => one.name === name);
    if (found === undefined) throw new Error(`${name} of ${this.model} isn't up`);
    return found;
  }

  /** Messages in queues or records not yet committed; null where the broker doesn't say. */
  get onTheWay(): number | null {
    const { broker } = this.facts;
    if (broker === undefined) return 0;
    const queues = this.#queues.frames();
    const logs = this.#logs.frames();
    const isOld = [...queues, ...logs].some(({ age_ms }) => age_ms === null || age_ms > 3_000);
    if (isOld) return null;
    const ready = queues.reduce((sum, one) => sum + (one.ready ?? 0) + (one.unacked ?? 0), 0);
    return ready + logs.flatMap((one) => one.partitions).reduce((sum, [e, c]) => sum + e - c, 0);
  }

  get deadLetters(): number | null {
    const { broker } = this.facts;
    if (broker === undefined) return null;
    if (broker.name === "kafka") return this.#logs.dead;
    return this.#queues.frames().reduce((sum, { dead }) => sum + (dead ?? 0), 0);
  }

  frame(nowMs: number): ModelFrame {
    const { broker } = this.#processes;
    return {
      model: this.model,
      services: this.#processes.frames(),
      ...(broker && { broker }),
      queues: this.#queues.frames(),
      logs: this.#logs.frames(),
      deadLetters: this.deadLetters,
      stats: { ...(this.#stats.value ?? this.#lookAtStats()), waiting: this.customers.waiting },
      lamps: this.#lamps.all,
      without: this.without,
      hops: this.trails.take(nowMs),
      scale: this.trails.scale,
      network: this.line.fault,
    };
  }

  #lookAtStats(): Omit<ModelFrame["stats"], "waiting"> {
    const { failed, ...stats } = this.book.stats();
    const { all, refused, ...told } = this.customers.stats();
    // A refused order has also failed where it was stored: it counts once.
    const of = Math.max(stats.per_minute, all);
    return { ...stats, ...told, failure_rate: of === 0 ? null : Math.max(failed, refused) / of };
  }

  #services(): UpService[] {
    return this.facts.services.flatMap((name) => this.#processes.service(name) ?? []);
  }

  #lookAtOrders(): void {
    const order = this.#processes.service(this.facts.services[0]);
    if (order === undefined) return;
    for (const { ended_ms, order_id, status } of this.book.look(order.database)) {
      this.trails.end(order_id, status === "failed" ? "failed" : "done", ended_ms!);
    }
  }

  async #lookAtLamps(): Promise<void> {
    const { customers, repeated } = this;
    const lamps = this.#lamps.look({
      services: this.#processes.frames(),
      databases: this.facts.services.map((name) => this.#processes.service(name)?.database),
      onTheWay: this.onTheWay,
      waiting: customers.waiting,
      operations: customers.history.operations,
      dead: await deadOrders(this.facts, await this.namespace(), this.deadLetters ?? 0),
      repeated,
    });
    // What was found right need not be remembered: a day of orders would fill the memory.
    const { operations } = customers.history;
    if (lamps.every(({ state }) => state === "kept")) operations.length = 0;
    else if (operations.length > MOST_ANSWERS) {
      let left = 0;
      for (const one of operations) {
        if (!this.book.hasEnded(one.order_id)) operations[left++] = one;
      }
      operations.length = left;
    }
  }
}
