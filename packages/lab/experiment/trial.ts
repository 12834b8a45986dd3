import type { PlaceOrder } from "@lab/contracts/order";
import { OPENING_STOCK } from "@lab/workflow/menu";
import type { Metrics } from "@lab/workflow/metrics";
import type { Broker } from "../brokers/broker.ts";
import { type Checked, checkOrders, type Verdict } from "../check/checker.ts";
import { refuseContainers } from "../services/compose-services.ts";
import { count, OUTBOX_DEPTH } from "../probes/databases.ts";
import { DeadLetters } from "../probes/dead-letters.ts";
import type { Model } from "@lab/evidence/evidence";
import { fetchHealth } from "../services/health.ts";
import type { Run } from "./experiment.ts";
import { eventsOf, readTopic, withAdmin } from "../probes/kafka-tools.ts";
import { describeGroup, totalLag } from "../probes/lag.ts";
import { attemptsIn } from "../services/logs.ts";
import { factsOf, type ModelFacts } from "../brokers/model-facts.ts";
import { type LoadResult, openLoop, placeOrder, seededOrder } from "../load/load.ts";
import { type Campus, startModel } from "../services/processes.ts";
import { Rabbitmq } from "../probes/rabbitmq-tools.ts";
import { fetchMetrics, fetchReplay } from "../probes/replay.ts";
import { eventually, nowUs } from "../host/waiting.ts";
import type { History, Outcome } from "../load/history.ts";

/** Unchanged for this long counts as idle: all work takes milliseconds. */
const QUIET_MS = 300;
/** RabbitMQ's count of unacknowledged messages is up to 2 s old. */
const QUIET_BY_FIGURES_MS = 2_300;
/** Longer than the pause before a requeue, where RabbitMQ's counts are not available. */
const QUIET_UNSEEN_MS = 4_000;
/** Longer than the pauses between two attempts at a message, and than the session timeout of a dead Kafka consumer. */
const STUCK_MS = 12_000;

/**
 * Short timeouts, so that a trial doesn't wait long. Each service reads the variables that it
 * knows.
 */
const ENV = {
  RETRY_EVERY_MS: "100",
  INVENTORY_TIMEOUT_MS: "1000",
  NOTIFICATION_TIMEOUT_MS: "1000",
};

/** Counts the downstream service's effects, in its database. */
export const DOWNSTREAM_EFFECTS = {
  notification: "SELECT count(*) FROM notifications",
  analytics: "SELECT sum(next_offset) FROM positions",
};

export interface TrialOptions {
  model: Model;
  /** For databases and logs. */
  folder: string;
  /** Prefix of queues, topics and groups. */
  namespace: string;
  seed: number;
  history: History;
  /** Undefined where the services call each other. */
  broker?: Pick<Broker, "name" | "address" | "managementUrl"> | undefined;
  env?: Record<string, string>;
  /** By service; the others get free ports. */
  ports?: Record<string, number>;
  /** Only these. */
  services?: readonly string[];
}

/**
 * A trial of an experiment; `name` distinguishes it from the others of the same run. Concurrent
 * trials need a history each.
 */
export async function trialOf(
  run: Run,
  name: string,
  {
    broker,
    history,
    ...options
  }: Partial<Pick<TrialOptions, "broker" | "env" | "history" | "ports" | "services">> = {},
): Promise<Trial> {
  const { model } = run.evidence;
  const needed = factsOf(model).broker?.name;
  return startTrial({
    model,
    folder: `${run.folder}/${name}`,
    namespace: `${run.namespace}${name}-`,
    seed: run.seed,
    history: history ?? run.history,
    broker: broker ?? (needed && (await run.broker(needed))),
    ...options,
  });
}

/** Starts the services of a model, with nothing sent yet. */
export async function startTrial(options: TrialOptions): Promise<Trial> {
  refuseContainers();
  const { env, model } = options;
  const campus = await startModel(model, {
    ...options,
    env: { LAB_FAULTS: "on", ...ENV, ...env },
  });
  return new Trial(options, campus);
}

/** Pending work; all 0 when the workflow is idle. */
interface Waiting {
  /** Orders without a final status. */
  open: number;
  /** Bulk streams and replays. */
  running: number;
  /** Events that wait for the broker, or releases that Inventory hasn't answered. */
  owed: number;
  /** Ready or unacknowledged messages in queues, or the lag of the groups. */
  queued: number;
}

/**
 * One model under load, with access to its processes, and a check of the result at the end. All
 * models are driven and checked alike.
 */
export class Trial implements AsyncDisposable {
  readonly campus: Campus;
  readonly model: Model;
  readonly facts: ModelFacts;
  readonly #options: TrialOptions;
  readonly #rabbit: Rabbitmq | undefined;
  /** Where this trial begins in the history, which other trials share. */
  readonly #from: number;
  #sent = 0;
  /** The metrics at the end of each `settle`. */
  readonly #shown: Metrics[] = [];
  /** The pending work that `settle` saw last. */
  #waited: Waiting | undefined;

  /** Use `startTrial`. */
  constructor(options: TrialOptions, campus: Campus) {
    this.campus = campus;
    this.model = options.model;
    this.facts = factsOf(options.model);
    this.#options = options;
    this.#from = options.history.operations.length;
    const { broker } = options;
    if (broker?.name === "rabbitmq") this.#rabbit = new Rabbitmq(broker);
  }

  /** Places the next order of the seeded stream; recorded in the history. */
  send(): Promise<Outcome> {
    const { seed } = this.#options;
    return this.place(seededOrder(seed, this.#sent++));
  }

  /** Places that order, under a client's key if there is one; recorded in the history. */
  place(
    order: PlaceOrder,
    { key, timeoutMs = 15_000 }: { key?: string; timeoutMs?: number } = {},
  ): Promise<Outcome> {
    const { history } = this.#options;
    const headers = key === undefined ? {} : { "idempotency-key": key };
    return placeOrder(this.campus.order.url, order, { history, timeoutMs, headers });
  }

  /** Places orders at that rate, for that long or until `signal`. */
  load(ratePerS: number, durationS: number, signal?: AbortSignal): Promise<LoadResult> {
    const options = { ratePerS, durationS, exact: false, send: () => this.send() };
    return openLoop(signal === undefined ? options : { ...options, signal });
  }

  /** Prefix of its queues, topics and groups. */
  get namespace(): string {
    return this.#options.namespace;
  }

  /** Its broker; throws for the model that has none. */
  get broker(): NonNullable<TrialOptions["broker"]> {
    const { broker } = this.#options;
    if (broker === undefined) throw new Error(`${this.model} has no broker`);
    return broker;
  }

  /** Orders without a final status; with `before`, only those placed before that time. */
  openOrders(before?: string): number {
    const open = this.facts.success === "confirmed" ? "'placed', 'reserved'" : "'placed'";
    const sql = `SELECT count(*) FROM orders WHERE status IN (${open})`;
    const { order } = this.campus;
    return before === undefined
      ? count(order, sql)
      : count(order, `${sql} AND placed_at < ?`, before);
  }

  /** The operations of this trial so far. */
  get operations() {
    return this.#options.history.operations.slice(this.#from);
  }

  /**
   * Waits until every order has ended and no work is pending. Also returns when nothing has changed
   * for `stuckMs` although work is pending: the checker reports it. Without a limit of the caller's
   * that counts only while every service says that it is up: one that waits for its broker isn't
   * stuck. Throws when it never becomes idle.
   */
  async settle(timeoutMs = 120_000, stuckMs?: number): Promise<void> {
    for (const service of this.campus.services) await service.healthy();
    let last = "";
    let sinceUs = nowUs();
    let queued = 0;
    const unchangedMs = () => (nowUs() - sinceUs) / 1_000;
    await eventually(
      "every order has ended, nothing is on its way",
      async () => {
        const stored = this.#stored();
        const isBusy = stored.open + stored.owed + stored.running > 0;
        // Each question costs the broker: it is asked when the databases have been quiet for long enough.
        const asks = isBusy
          ? this.#rabbit !== undefined
          : queued > 0 || unchangedMs() >= this.#quietMs;
        queued = asks ? await this.#queued(isBusy) : 0;
        this.#waited = { ...stored, queued };
        const state = JSON.stringify([this.#waited, this.#effects()]);
        if (state !== last) {
          last = state;
          sinceUs = nowUs();
        }
        const atRest = !isBusy && queued === 0;
        const limitMs = atRest ? this.#quietMs : (stuckMs ?? STUCK_MS);
        if (unchangedMs() < limitMs) throw new Error(state);
        if (atRest || stuckMs !== undefined || (await this.#areUp())) return true;
        throw new Error(state);
      },
      // Polling a broker's groups and queues puts load on it.
      { timeoutMs, everyMs: this.facts.broker ? 200 : 50 },
    );
    if (this.facts.downstream === "analytics") {
      this.#shown.push((await fetchMetrics(this.campus.downstream.url)).metrics);
    }
  }

  /** Checks the client's answers against what is stored. Call it after `settle`. */
  async verdict(): Promise<Verdict> {
    const { campus, facts, model } = this;
    const checked: Checked = {
      model,
      operations: this.operations,
      orders: campus.order.database,
      inventory: campus.inventory.database,
      dead: await this.#dead(),
      attempts: attemptsIn(this.#options.folder),
      unfinished: this.#unfinished(["running", "owed", "queued"]),
      unnoticed: await this.#unnoticed(),
      openingStock: Number(this.#options.env?.["OPENING_STOCK"] ?? OPENING_STOCK),
    };
    if (facts.downstream === "analytics") {
      checked.shown = this.#shown;
      checked.metrics = (await fetchMetrics(campus.downstream.url)).metrics;
      const replay = await fetchReplay(campus.downstream.url).catch((error: Error) => {
        // There was no replay.
        if (error.message.includes("/replay: 404 ")) return undefined;
        throw error;
      });
      if (replay?.finished_at) checked.replay = replay;
    } else checked.notification = campus.downstream.database;
    return checkOrders(checked);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#rabbit?.[Symbol.asyncDispose]();
    await this.campus[Symbol.asyncDispose]();
  }

  get #quietMs(): number {
    if (this.#rabbit === undefined) return QUIET_MS;
    return this.broker.managementUrl === undefined ? QUIET_UNSEEN_MS : QUIET_BY_FIGURES_MS;
  }

  /** The pending work of these kinds, as text. Open orders are found by the checker itself. */
  #unfinished(kinds: readonly (keyof Waiting)[]): string[] {
    return kinds
      .map((kind) => ({ kind, n: this.#waited?.[kind] ?? 0 }))
      .filter(({ n }) => n > 0)
      .map(({ kind, n }) => `${n} ${kind}`);
  }

  /** The stuck work, if every service reports that it is up and has no pending work. */
  async #unnoticed(): Promise<string[]> {
    const still = this.#unfinished(["open", "running", "owed", "queued"]);
    if (still.length === 0) return [];
    const healths = await this.#healths();
    const isWell = healths.every(
      (health) =>
        health?.status === "up" && Object.values(health.owed).every(({ count: n }) => n === 0),
    );
    return isWell ? still : [];
  }

  async #areUp(): Promise<boolean> {
    return (await this.#healths()).every((health) => health?.status === "up");
  }

  /** Undefined for a service that doesn't answer. */
  #healths() {
    return Promise.all(
      this.campus.services.map(({ url }) => fetchHealth(url).catch(() => undefined)),
    );
  }

  /** The pending work that the databases show. */
  #stored(): Omit<Waiting, "queued"> {
    const { order, downstream } = this.campus;
    const { broker, takesBulks } = this.facts;
    const open = this.openOrders();
    const bulks = "SELECT count(*) FROM bulks WHERE finished_at IS NULL";
    const replays = "SELECT count(*) FROM generations WHERE state = 'replaying'";
    const running =
      (takesBulks ? count(order, bulks) : 0) +
      (this.facts.downstream === "analytics" ? count(downstream, replays) : 0);
    const owed = count(order, broker ? OUTBOX_DEPTH : "SELECT count(*) FROM releases");
    return { open, running, owed };
  }

  /** Messages in queues, or the lag of the groups. Unacknowledged ones count unless `busy`: they may be waiting to be requeued. */
  async #queued(busy: boolean): Promise<number> {
    const { broker } = this.facts;
    if (broker === undefined) return 0;
    const { address, managementUrl } = this.broker;
    if (broker.name === "kafka") {
      return withAdmin(address, async (admin) => {
        const groups = await Promise.all(
          broker.groups.map((group) => describeGroup(admin, `${this.namespace}${group}`)),
        );
        return groups.reduce((sum, rows) => sum + totalLag(rows), 0);
      });
    }
    const rabbit = this.#rabbit!;
    const queues = Object.keys(broker.queues).map((queue) => `${this.namespace}${queue}`);
    let sum = 0;
    for (const queue of queues) sum += await rabbit.ready(queue);
    if (busy || sum > 0 || managementUrl === undefined) return sum;
    for (const queue of queues) sum += await rabbit.unacknowledged(queue);
    return sum;
  }

  /** Counts that change with any effect. */
  #effects(): number[] {
    const { inventory, order, downstream } = this.campus;
    return [
      count(order, "SELECT count(*) FROM order_steps"),
      count(inventory, "SELECT count(*) FROM reservations"),
      count(inventory, "SELECT sum(quantity) FROM stock"),
      count(downstream, DOWNSTREAM_EFFECTS[this.facts.downstream]),
    ];
  }

  /** Ids of the orders with a message in a dead queue or topic. */
  async #dead(): Promise<string[]> {
    const { broker } = this.facts;
    if (broker === undefined) return [];
    const { address } = this.broker;
    if (broker.name === "kafka") {
      const records = await readTopic(address, `${this.namespace}${broker.deadTopic}`);
      return eventsOf(records).events.map(({ data }) => data.order_id);
    }
    await using letters = await DeadLetters.open(address, this.namespace, broker);
    const lists = [];
    for (const queue of Object.keys(broker.queues)) lists.push(...(await letters.list(queue)));
    return lists.flatMap(({ body }) => orderIdIn(body) ?? []);
  }
}

function orderIdIn(body: Buffer): string | undefined {
  try {
    return (JSON.parse(body.toString()) as { subject?: string }).subject;
  } catch {
    return undefined;
  }
}
