import type { PlaceOrder } from "@lab/contracts/order";
import { KITCHENS } from "@lab/workflow/menu";
import { setFaults as setFaultsOf } from "@lab/lab/services/set-faults";
import type { Broker } from "@lab/lab/brokers/broker";
import { type Verdict, type Violations, violations } from "@lab/lab/check/checker";
import type { Model, Table } from "@lab/evidence/evidence";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { History, type Outcome } from "@lab/lab/load/history";
import { factsOf } from "@lab/lab/brokers/model-facts";
import type { ServiceProcess } from "@lab/lab/services/processes";
import { startTrial, type Trial } from "@lab/lab/experiment/trial";
import { inTurn } from "@lab/lab/host/in-turn";
import { eventually, settled } from "@lab/lab/host/waiting";
import { illegalAnswers } from "../answers.ts";
import { count, OUTBOX_DEPTH } from "@lab/lab/probes/databases";
import { keepOrdering, noteRepeated } from "../common.ts";

/** A mutant that shows nothing in so many rounds isn't caught. */
const MOST_ROUNDS = 5;
/** Orders that a situation places at once. */
export const ORDER_COUNT = 12;

/** One model in a situation, whole or with something taken away. */
export interface Subject {
  /** Protections that it goes without, as in LAB_WITHOUT. */
  without: string;
  trial: Trial;
  history: History;
  between: Between | undefined;
  /** What was done to it. */
  struck: { kills: number; faults: number };
}

/** A proxy between the services of one subject. */
interface Between extends AsyncDisposable {
  env: Record<string, string>;
  ports: Record<string, number>;
}

/** Orders that Inventory has decided. */
export const DECIDED = "SELECT count(*) FROM reservations";

/** What may happen to a model, and which protections it needs then. */
export interface MutantSituation {
  title: string;
  env?: Record<string, string>;
  /** Called in each round, before its subjects start. */
  ready?: () => Promise<unknown>;
  /** Called for each subject, before it starts. */
  between?: () => Promise<Between>;
  /** Answers to an order that are legal here and nowhere else. */
  answers?: string[];
  /** Dead letters that it makes of a model with every protection: none, unless it says so. */
  dead?: number;
  /** Whether all services start with every protection, and `happen` restarts one without. */
  startsWhole?: boolean;
  /** Makes it happen to each of them; afterwards every service runs. */
  happen: (subjects: Subject[], broker: Broker) => Promise<void>;
  mutants: Mutant[];
}

interface Mutant {
  /** As in LAB_WITHOUT. */
  without: string;
  /** What the checker has to find, and nothing else. */
  breaks: Breaks;
  /** What holds in its place, where nothing breaks. */
  heldBy?: string;
}

/** Dead letters are no violation, but where a situation makes none they are found, too. */
type Kind = keyof Violations | "dead";

/** How many of each kind: a number where the situation fixes it, `any` where it depends on timing. */
type Breaks = Partial<Record<Kind, number | "any">>;

interface Suite {
  model: Model;
  /**
   * For so long orders have to stand still that are expected to be lost. Where none is, the trial's
   * own patience costs nothing.
   */
  stuckMs: number;
  /** Lists of situations; the lists go side by side. */
  lanes: MutantSituation[][];
  /** Those that hurt the broker, which the lists share. They come first: it then has little to recover. */
  first?: MutantSituation[];
}

/** What was found of a mutant, or of the model as it is. */
interface Finding {
  situation: string;
  mutant: Mutant;
  found: Partial<Record<Kind, string[]>>;
  rounds: number;
  orders: number;
}

/** Takes each protection away in a situation that needs it, and sees whether the checker finds what that breaks. */
export function testMutants({ model, stuckMs, first = [], lanes }: Suite): void {
  experiment(
    {
      name: "mutants",
      model,
      question: "Does the checker find what it is there to find?",
      method: `Each protection is taken away by name (LAB_WITHOUT), in a situation that needs it; the same situation with all protections is the control. Every round has a model of its own, started anew, and up to ${MOST_ROUNDS} rounds are made of each.`,
      disproof:
        "A protection taken away, and the checker finds nothing, less, more or something else than what it protects from; or, with every protection in place, a violation, a dead letter that the situation doesn't make, or an answer that the model may not give.",
      requirements: [],
    },
    async (run) => {
      const needed = factsOf(model).broker?.name;
      await using broker = needed && (await run.ownBroker(needed));
      const proof = new MutantProof(run, stuckMs, broker);
      for (const situation of first) await proof.prove(situation);
      await Promise.all(
        lanes.map(async (lane) => {
          for (const situation of lane) await proof.prove(situation);
        }),
      );
      proof.conclude();
    },
  );
}

class MutantProof {
  readonly #run: Run;
  readonly #stuckMs: number;
  readonly #broker: Broker | undefined;
  readonly #findings: Finding[] = [];
  readonly #totals = {
    orders: 0,
    acknowledged: 0,
    unknown: 0,
    recovered: 0,
    kills: 0,
    faults: 0,
  };
  /** What clients of the models with every protection were told, and may not be. */
  readonly #illegalAnswers: string[] = [];
  #trials = 0;
  /** Two queues; the starts of a queue go one after the other. */
  readonly #starts = [inTurn(), inTurn()];

  constructor(run: Run, stuckMs: number, broker: Broker | undefined) {
    this.#run = run;
    this.#stuckMs = stuckMs;
    this.#broker = broker;
  }

  /** One situation: the control beside all its mutants, then again beside those that have shown too little. */
  async prove(situation: MutantSituation): Promise<void> {
    const { dead, title } = situation;
    const whole: Mutant = { without: "", breaks: dead === undefined ? {} : { dead } };
    let open = situation.mutants;
    for (let rounds = 1; open.length > 0; rounds += 1) {
      const [control, ...verdicts] = await this.#round(situation, [whole, ...open]);
      this.#findings.push({
        situation: rounds === 1 ? title : `${title}, round ${rounds}`,
        mutant: whole,
        found: foundIn(control as Verdict),
        rounds,
        orders: (control as Verdict).attempted,
      });
      open = open.filter((mutant, n) => {
        const verdict = verdicts[n] as Verdict;
        const found = foundIn(verdict);
        // Too little may be bad luck; what isn't expected is final.
        if (isTooLittle(found, mutant.breaks) && rounds < MOST_ROUNDS) return true;
        this.#findings.push({ situation: title, mutant, found, rounds, orders: verdict.attempted });
        return false;
      });
    }
  }

  /** The control comes first. */
  async #round(situation: MutantSituation, mutants: Mutant[]): Promise<Verdict[]> {
    const { answers, title } = situation;
    this.#run.progress(`${title}; without ${mutants.map(nameOf).join(", without ")}`);
    await situation.ready?.();
    const started = await Promise.allSettled(
      mutants.map(({ without }) => this.#start(situation, without)),
    );
    const subjects = started.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    try {
      for (const one of started) if (one.status === "rejected") throw one.reason;
      // Only what is done to a model with a broker asks for it.
      await situation.happen(subjects, this.#broker as Broker);
      const verdicts = await Promise.all(
        subjects.map((subject, n) => judged(subject, mutants[n] as Mutant, this.#stuckMs)),
      );
      for (const [n, verdict] of verdicts.entries()) this.#add(subjects[n] as Subject, verdict);
      const { model, operations } = (subjects[0] as Subject).trial;
      const illegal = illegalAnswers(model, operations, answers);
      this.#illegalAnswers.push(...illegal.map((some) => `${title}: ${some}`));
      return verdicts;
    } catch (error) {
      throw new Error(title, { cause: error });
    } finally {
      await Promise.all(subjects.map((subject) => this.#end(subject)));
    }
  }

  async #start(situation: MutantSituation, without: string): Promise<Subject> {
    const { startsWhole } = situation;
    const between = await situation.between?.();
    const env = { ...situation.env, ...between?.env };
    const { evidence, folder, namespace, seed } = this.#run;
    const name = `m${(this.#trials += 1)}`;
    const history = new History(`${folder}/${name}/history.jsonl`);
    // Two at a time: all at once they only starve each other, and a new broker.
    const inTurnWithOthers = this.#starts[this.#trials % 2]!;
    const trial = await inTurnWithOthers(() =>
      startTrial({
        model: evidence.model,
        folder: `${folder}/${name}`,
        namespace: `${namespace}${name}-`,
        seed,
        history,
        broker: this.#broker,
        ports: between?.ports ?? {},
        env: startsWhole ? env : { ...env, LAB_WITHOUT: without },
      }),
    );
    return { without, trial, history, between, struck: { kills: 0, faults: 0 } };
  }

  #add({ struck }: Subject, verdict: Verdict): void {
    const { attempted: orders, acknowledged, unknown } = verdict;
    const recovered = verdict.recovered.length;
    const more = { orders, acknowledged, unknown, recovered, ...struck };
    for (const [name, value] of Object.entries(more)) {
      this.#totals[name as keyof typeof more] += value;
    }
  }

  /** Killed: it has been judged, and a graceful stop would only take its time. */
  async #end({ between, trial, history }: Subject): Promise<void> {
    await Promise.all(trial.campus.services.map((service) => service.kill()));
    await trial[Symbol.asyncDispose]();
    await between?.[Symbol.asyncDispose]();
    await history.close();
  }

  conclude(): void {
    const run = this.#run;
    const controls = this.#findings.filter(({ mutant }) => mutant.without === "");
    const mutants = this.#findings.filter(({ mutant }) => mutant.without !== "");
    run.table(mutantsTable(mutants));
    run.table(controlsTable(controls));
    const illegal = this.#findings.flatMap(({ mutant: { breaks }, found }) =>
      Object.entries(found).filter(([kind]) => kind !== "dead" && !(kind in breaks)),
    );
    for (const [name, value] of Object.entries(this.#totals)) run.figure(name, value);
    run.figure("violations", illegal.flatMap(([, list]) => list).length);
    noteRepeated(run);
    run.figure(
      "mutants",
      mutants.filter(({ mutant }) => Object.keys(mutant.breaks).length > 0).length,
    );
    run.figure("controls", controls.length);
    for (const { situation, mutant, found } of controls) {
      const { dead = [], ...illegal } = found;
      run.holds(`${situation}: nothing illegal with every protection`, illegal, {});
      run.holds(
        `${situation}: dead letters with every protection`,
        dead.length,
        mutant.breaks.dead ?? 0,
      );
    }
    run.holds("no answer was illegal with every protection", this.#illegalAnswers, []);
    run.holds("orders were acknowledged", this.#totals.acknowledged > 0, true);
    for (const { situation, mutant, found } of mutants) {
      const label = `${situation}: without ${nameOf(mutant)}`;
      run.holds(label, countsOf(found, mutant.breaks), mutant.breaks);
    }
  }
}

function foundIn(verdict: Verdict): Finding["found"] {
  const { dead } = verdict;
  return { ...violations(verdict), ...(dead.length > 0 ? { dead } : {}) };
}

/** How many of each kind were found; `any` where it breaks any. */
function countsOf(found: Finding["found"], breaks: Breaks): Breaks {
  const kinds = Object.entries(found) as [Kind, string[]][];
  return Object.fromEntries(
    kinds.map(([kind, list]) => [kind, breaks[kind] === "any" ? "any" : list.length]),
  );
}

/** Whether less was found than it breaks, and nothing else. */
function isTooLittle(found: Finding["found"], breaks: Breaks): boolean {
  const counts = countsOf(found, breaks);
  const kinds = Object.keys(counts) as Kind[];
  const noMore = kinds.every(
    (kind) => counts[kind] === breaks[kind] || counts[kind]! < breaks[kind]!,
  );
  return noMore && !Bun.deepEquals(counts, breaks);
}

function nameOf({ without }: Mutant): string {
  return without === "" ? "nothing" : without.replaceAll(",", " and ");
}

function mutantsTable(findings: Finding[]): Table {
  const rows = findings.map(({ situation, mutant, found, rounds, orders }) => {
    const broke = Object.entries(found);
    const what = broke.map(([kind, list]) => `${list.length} ${kind}`).join(", ");
    const [[kind, [example]] = ["", [""]]] = broke;
    return [
      nameOf(mutant),
      situation,
      orders,
      what || (mutant.heldBy ? `nothing: held by ${mutant.heldBy}` : "nothing"),
      example ? `${kind}: ${example}` : "",
      rounds,
    ];
  });
  return {
    id: "mutants",
    title: "Taken away, and what broke",
    columns: [
      { name: "taken away" },
      { name: "situation" },
      { name: "orders" },
      { name: "what broke" },
      { name: "example" },
      { name: "rounds" },
    ],
    rows,
    note: "Where nothing broke, another protection does the same work: one of them may go. All of them may not: see the row with all their names.",
  };
}

function controlsTable(findings: Finding[]): Table {
  return {
    id: "controls",
    title: "The same situations with every protection",
    columns: [
      { name: "situation" },
      { name: "orders" },
      { name: "violations" },
      { name: "dead letters" },
    ],
    rows: findings.map(({ situation, orders, found: { dead = [], ...illegal } }) => [
      situation,
      orders,
      Object.values(illegal).flat().length,
      dead.length,
    ]),
  };
}

async function judged({ trial }: Subject, { breaks }: Mutant, stuckMs: number): Promise<Verdict> {
  const loses = "lost" in breaks || "stuck" in breaks;
  await trial.settle(undefined, loses ? stuckMs : undefined);
  return trial.verdict();
}

/** Makes the same happen to each of them, side by side. */
export function alike(happen: (subject: Subject) => Promise<void>) {
  return async (subjects: Subject[]): Promise<void> => {
    await Promise.all(subjects.map(happen));
  };
}

/** Each of another kitchen, so that what is wrong with one is seen beside the others. */
const ORDERS: PlaceOrder[] = KITCHENS.slice(0, ORDER_COUNT).map((kitchen) => ({
  user_id: "u1",
  kitchen,
  items: [{ sku: "burger", qty: 1 }],
}));

/** Places the situation's orders at once. */
export function sendSome({ trial }: Subject): Promise<Outcome[]> {
  return Promise.all(ORDERS.map((order) => trial.place(order)));
}

/** SIGKILL of the broker, which the subjects share, and its start. */
export async function restartBroker(subjects: Subject[], broker: Broker): Promise<void> {
  await broker.kill();
  (subjects[0] as Subject).struck.kills += 1;
  await broker.start();
}

/** SIGKILL; the service is to be started again. */
export async function kill({ struck }: Subject, service: ServiceProcess): Promise<void> {
  struck.kills += 1;
  await service.kill();
}

/** Has a service die in that gap, with what `work` gave it in its hand, and starts it again. */
export async function dieAt(
  { struck }: Subject,
  service: ServiceProcess,
  point: string,
  work: () => Promise<void>,
): Promise<void> {
  await service.restart({ LAB_CRASH_AT: `${point}:1` });
  await work();
  await eventually(`${service.name} dies at ${point}`, () => service.exited.then(() => true));
  struck.kills += 1;
  await service.restart();
}

/** Sets the faults of a service; what is left out is off. */
export async function setFaults(
  { struck }: Subject,
  service: ServiceProcess,
  faults: Record<string, number | boolean>,
): Promise<void> {
  if (Object.keys(faults).length > 0) struck.faults += 1;
  await setFaultsOf(service, faults);
}

/** Returns once Inventory has failed so many times. */
export async function untilFailed({ trial }: Subject, times: number): Promise<void> {
  const { logFile } = trial.campus.inventory;
  await eventually(`Inventory has failed ${times} times`, async () => {
    const log = await Bun.file(logFile).text();
    const seen = log.split('"message_retried"').length - 1;
    if (seen < times) throw new Error(`${seen} times`);
    return true;
  });
}

/** Places the situation's orders, and returns once all of them are published, or nothing can be. */
export async function publishSome(subject: Subject): Promise<void> {
  const { trial } = subject;
  await sendSome(subject);
  const depth = () => count(trial.campus.order, OUTBOX_DEPTH);
  await eventually("the outbox rests", () => settled("its depth", depth, { forMs: 500 }));
}

/** Every client asks twice under its key, as it does when no answer came in time. */
export const ASKED_TWICE: MutantSituation = {
  title: "each client asks twice under one idempotency key",
  happen: alike(async ({ trial }) => {
    for (const order of ORDERS) {
      await trial.place(order, { key: `key-${order.kitchen}` });
      await trial.place(order, { key: `key-${order.kitchen}` });
    }
  }),
  mutants: [{ without: "idempotency-key", breaks: { doubled: 2 * ORDER_COUNT } }],
};

/** All want the same, and only some can have it. */
export const SCARCE: MutantSituation = {
  title: "more is ordered than there is",
  env: { OPENING_STOCK: "5" },
  answers: ["failed 409 out_of_stock"],
  happen: alike(async ({ trial }) => {
    await Promise.all(ORDERS.map((order) => trial.place({ ...order, kitchen: "main" })));
  }),
  mutants: [{ without: "stock-check", breaks: { oversold: 1 } }],
};

/** Orders that Order knows to be reserved. */
const RESERVED = "SELECT count(*) FROM orders WHERE status IN ('reserved', 'confirmed')";

/** What a service has said must be there when it comes back. */
export function killedUnderLoad(
  who: "Order" | "Inventory" | "Notification",
  breaks: Breaks,
): MutantSituation {
  return {
    title: `${who} is killed under load`,
    // Only the killed service goes without: the other services' databases are read below, so they must commit.
    startsWhole: true,
    happen: alike(async (subject) => {
      const { trial, without } = subject;
      const { inventory, order, downstream } = trial.campus;
      const service = { Order: order, Inventory: inventory, Notification: downstream }[who];
      if (without !== "") await service.restart({ LAB_WITHOUT: without });
      await service.healthy();
      const load = keepOrdering(trial, 200);
      // Until others know what it hasn't committed yet.
      const told = () => trial.operations.filter(({ outcome }) => outcome === "ok").length;
      const known = () => (who === "Order" ? count(inventory, DECIDED) : count(order, RESERVED));
      await eventually(
        "others know some",
        () => known() >= 2 * ORDER_COUNT && told() >= ORDER_COUNT,
        {
          everyMs: 10,
        },
      );
      await kill(subject, service);
      await load.stop();
      await service.restart();
    }),
    mutants: [{ without: "commit-before-answer", breaks }],
  };
}
