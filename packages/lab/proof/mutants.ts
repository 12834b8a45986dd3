import { setFaults as setFaultsOf } from "../set-faults.ts";
import { bulkOrder } from "@lab/workflow/bulk";
import type { Broker } from "../brokers.ts";
import { type Verdict, type Violations, violations } from "../checker.ts";
import type { Model, Table } from "../evidence.ts";
import { experiment, type Run } from "../experiment.ts";
import { History, type Outcome } from "../history.ts";
import { placeOrder } from "../load.ts";
import type { ServiceProcess } from "../processes.ts";
import { startTrial, type Trial } from "../trial.ts";
import { eventually, settled } from "../waiting.ts";
import { illegalAnswers } from "./answers.ts";
import { count } from "../databases.ts";
import { keepOrdering, noteRepeated, ownBroker } from "./common.ts";

/** A mutant that shows nothing in so many rounds isn't caught. */
const MOST_ROUNDS = 5;
/**
 * For so long orders have to stand still that are expected to be lost. Where none
 * is, the trial's own patience costs nothing. A Kafka group may be without a member
 * for its session's 6 s.
 */
const STUCK_MS = { "sync-rest": 3_000, "async-rabbitmq": 4_000, "streaming-kafka": 7_000 };
/** Orders of a situation. */
export const SOME = 12;

/** One model in a situation, whole or with something taken away. */
export interface Subject {
  /** Protections that it goes without, as in LAB_WITHOUT. */
  without: string;
  trial: Trial;
  history: History;
  /** What was done to it. */
  struck: { kills: number; faults: number };
}

/** Events that Order has stored and not published. */
export const OUTBOX_DEPTH = "SELECT count(*) FROM outbox WHERE sent_at IS NULL";

/** Orders that Inventory has decided. */
export const DECIDED = "SELECT count(*) FROM reservations";

/** What may happen to a model, and which protections it needs then. */
export interface Situation {
  title: string;
  env?: Record<string, string>;
  /** Whether all services start with every protection, and `happen` takes them away. */
  startsWhole?: boolean;
  /** Makes it happen to each of them; afterwards every service runs. */
  happen: (subjects: Subject[], broker: Broker) => Promise<void>;
  mutants: Mutant[];
}

interface Mutant {
  /** As in LAB_WITHOUT. */
  without: string;
  /** What the checker has to find, and nothing else. */
  breaks: (keyof Violations)[];
  /** What holds in its place, where nothing breaks. */
  heldBy?: string;
}

interface Suite {
  model: Model;
  timeoutS: number;
  /** Lists of situations; the lists go side by side. */
  lanes: Situation[][];
  /** Those that hurt the broker, which the lists share. */
  afterwards?: Situation[];
}

/** What was found of a mutant, or of the model as it is. */
interface Finding {
  situation: string;
  mutant: Mutant;
  found: Partial<Violations>;
  rounds: number;
  orders: number;
}

const WHOLE: Mutant = { without: "", breaks: [] };

/** Takes each protection away in a situation that needs it, and sees whether the checker finds what that breaks. */
export function testMutants({ model, timeoutS, lanes, afterwards = [] }: Suite): void {
  experiment(
    {
      name: "mutants",
      model,
      question: "Does the checker find what it is there to find?",
      method: `Each protection is taken away by name (LAB_WITHOUT), in a situation that needs it; the same situation with all protections is the control. Every round has a model of its own, started anew, and up to ${MOST_ROUNDS} rounds are made of each.`,
      disproof:
        "A protection taken away, and the checker finds nothing, or something else than what it protects from; or a violation, or an answer that the model may not give, with every protection in place.",
      requirements: [],
      timeoutS,
    },
    async (run) => {
      await using own =
        model === "sync-rest"
          ? undefined
          : await ownBroker(run, model === "async-rabbitmq" ? "rabbitmq" : "kafka");
      const proof = new Proof(run, own?.broker);
      await Promise.all(
        lanes.map(async (lane) => {
          for (const situation of lane) await proof.prove(situation);
        }),
      );
      for (const situation of afterwards) await proof.prove(situation);
      proof.conclude();
    },
  );
}

class Proof {
  readonly #run: Run;
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
  /** What was begun last in each of them. */
  readonly #queues: Promise<unknown>[] = [Promise.resolve(), Promise.resolve()];

  constructor(run: Run, broker: Broker | undefined) {
    this.#run = run;
    this.#broker = broker;
  }

  /** One situation: the control beside all its mutants, then again beside those that have shown too little. */
  async prove(situation: Situation): Promise<void> {
    const { title } = situation;
    let open = situation.mutants;
    for (let rounds = 1; open.length > 0; rounds += 1) {
      const [control, ...verdicts] = await this.#round(situation, [WHOLE, ...open]);
      this.#findings.push({
        situation: rounds === 1 ? title : `${title}, round ${rounds}`,
        mutant: WHOLE,
        found: violations(control as Verdict),
        rounds,
        orders: (control as Verdict).attempted,
      });
      open = open.filter((mutant, n) => {
        const verdict = verdicts[n] as Verdict;
        const found = violations(verdict);
        const kinds = Object.keys(found) as (keyof Violations)[];
        // Too little may be bad luck; what isn't expected is final.
        const tooLittle =
          kinds.length < mutant.breaks.length &&
          kinds.every((kind) => mutant.breaks.includes(kind));
        if (tooLittle && rounds < MOST_ROUNDS) return true;
        this.#findings.push({ situation: title, mutant, found, rounds, orders: verdict.attempted });
        return false;
      });
    }
  }

  /** The control comes first. */
  async #round(situation: Situation, mutants: Mutant[]): Promise<Verdict[]> {
    const { title } = situation;
    this.#run.progress(`${title}; without ${mutants.map(nameOf).join(", without ")}`);
    const started = await Promise.allSettled(
      mutants.map(({ without }) => this.#start(situation, without)),
    );
    const subjects = started.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    try {
      for (const one of started) if (one.status === "rejected") throw one.reason;
      // Only what is done to a model with a broker asks for it.
      await situation.happen(subjects, this.#broker as Broker);
      const verdicts = await Promise.all(
        subjects.map((subject, n) => judged(subject, mutants[n] as Mutant)),
      );
      for (const [n, verdict] of verdicts.entries()) this.#add(subjects[n] as Subject, verdict);
      const { model, operations } = (subjects[0] as Subject).trial;
      const illegal = illegalAnswers(model, operations);
      this.#illegalAnswers.push(...illegal.map((answers) => `${title}: ${answers}`));
      return verdicts;
    } catch (error) {
      throw new Error(title, { cause: error });
    } finally {
      await Promise.all(subjects.map((subject) => this.#end(subject)));
    }
  }

  async #start({ env = {}, startsWhole }: Situation, without: string): Promise<Subject> {
    const { evidence, folder, namespace, seed } = this.#run;
    const name = `m${(this.#trials += 1)}`;
    const history = new History(`${folder}/${name}/history.jsonl`);
    // Two at a time: all at once they only starve each other, and a new broker.
    const at = this.#trials % this.#queues.length;
    const starting = (this.#queues[at] as Promise<unknown>).then(() =>
      startTrial({
        model: evidence.model,
        folder: `${folder}/${name}`,
        namespace: `${namespace}${name}-`,
        seed,
        history,
        broker: this.#broker,
        env: startsWhole ? env : { ...env, LAB_WITHOUT: without },
      }),
    );
    this.#queues[at] = starting.catch(() => {});
    const trial = await starting;
    return { without, trial, history, struck: { kills: 0, faults: 0 } };
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
  async #end({ trial, history }: Subject): Promise<void> {
    await Promise.all(trial.campus.services.map((service) => service.kill()));
    await trial[Symbol.asyncDispose]();
    await history.close();
  }

  conclude(): void {
    const run = this.#run;
    const controls = this.#findings.filter(({ mutant }) => mutant === WHOLE);
    const mutants = this.#findings.filter(({ mutant }) => mutant !== WHOLE);
    run.table(mutantsTable(mutants));
    run.table(controlsTable(controls));
    const illegal = this.#findings.flatMap(({ mutant: { breaks }, found }) =>
      Object.entries(found).filter(([kind]) => !breaks.includes(kind as keyof Violations)),
    );
    for (const [name, value] of Object.entries(this.#totals)) run.figure(name, value);
    run.figure("violations", illegal.flatMap(([, list]) => list).length);
    noteRepeated(run);
    run.figure("mutants", mutants.filter(({ mutant }) => mutant.breaks.length > 0).length);
    run.figure("controls", controls.length);
    for (const { situation, found } of controls) {
      run.holds(`${situation}: nothing illegal with every protection`, found, {});
    }
    run.holds("no answer was illegal with every protection", this.#illegalAnswers, []);
    run.holds("orders were acknowledged", this.#totals.acknowledged > 0, true);
    for (const { situation, mutant, found } of mutants) {
      run.holds(
        `${situation}: without ${nameOf(mutant)}`,
        Object.keys(found).toSorted(),
        mutant.breaks.toSorted(),
      );
    }
  }
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
    note: "Where nothing broke, two protections do the same work: one of them may go. Both may not: see the row with the two names.",
  };
}

function controlsTable(findings: Finding[]): Table {
  return {
    id: "controls",
    title: "The same situations with every protection",
    columns: [{ name: "situation" }, { name: "orders" }, { name: "violations" }],
    rows: findings.map(({ situation, orders, found }) => [
      situation,
      orders,
      Object.values(found).flat().length,
    ]),
  };
}

async function judged({ trial }: Subject, { breaks }: Mutant): Promise<Verdict> {
  const loses = breaks.includes("lost") || breaks.includes("stuck");
  await trial.settle(120_000, loses ? STUCK_MS[trial.model] : undefined);
  return trial.verdict();
}

/** Makes the same happen to each of them, side by side. */
export function alike(happen: (subject: Subject) => Promise<void>) {
  return async (subjects: Subject[]): Promise<void> => {
    await Promise.all(subjects.map(happen));
  };
}

/** Places the situation's orders at once. */
export function sendSome({ trial }: Subject): Promise<Outcome[]> {
  return Promise.all(Array.from({ length: SOME }, () => trial.send()));
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
export async function triedInVain({ trial }: Subject, times: number): Promise<void> {
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
export const ASKED_TWICE: Situation = {
  title: "each client asks twice under one idempotency key",
  happen: alike(async ({ trial, history }) => {
    for (let n = 0; n < SOME; n += 1) {
      const order = bulkOrder({ seed: 1, kitchens: 25, failRate: 0 }, n);
      const headers = { "idempotency-key": `key-${n}` };
      await placeOrder(trial.campus.order.url, order, { history, headers });
      await placeOrder(trial.campus.order.url, order, { history, headers });
    }
  }),
  mutants: [{ without: "idempotency-key", breaks: ["doubled"] }],
};

/** What Order has answered must be there when it comes back. */
export function killedUnderLoad(breaks: Mutant["breaks"]): Situation {
  return {
    title: "Order is killed under load",
    // Only Order answers ahead of its commits: the others' would be read too early.
    startsWhole: true,
    happen: alike(async (subject) => {
      const { inventory, order } = subject.trial.campus;
      if (subject.without !== "") await order.restart({ LAB_WITHOUT: subject.without });
      await order.healthy();
      const load = keepOrdering(subject.trial, 200);
      // Until others know orders that Order hasn't committed yet: Inventory and the client.
      const { trial } = subject;
      const told = () => trial.operations.filter(({ outcome }) => outcome === "ok").length;
      await eventually(
        "Inventory and the client know some",
        () => count(inventory, DECIDED) >= 2 * SOME && told() >= SOME,
        { everyMs: 10 },
      );
      await kill(subject, order);
      await load.stop();
      await order.restart();
    }),
    mutants: [{ without: "commit-before-answer", breaks }],
  };
}
