import { Database } from "bun:sqlite";
import { type Verdict, violations } from "@lab/lab/check/checker";
import type { Model } from "@lab/evidence/evidence";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { History } from "@lab/lab/load/history";
import type { ServiceProcess } from "@lab/lab/services/processes";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { eventually } from "@lab/lab/host/waiting";
import { byLength } from "@lab/evidence/settings";
import { illegalAnswers } from "../answers.ts";
import { count } from "@lab/lab/probes/databases";
import { keepOrdering, noteCounts, RATE_PER_S, timed } from "../common.ts";

/** Units of everything in every kitchen: it lasts, and it runs out. */
const STOCKS = { plenty: 100_000, little: 6 };
/** Orders that are answered between two changes. */
const SOME = byLength({ short: 15, full: 50 });
/** RabbitMQ misses a consumer after two to three of its 10 s heartbeats. */
const MISSED_MS = 60_000;

export interface RebalancePlan {
  model: Model;
  /** Processes that the broker takes for consumers, and gives work to. */
  consumers(trial: Trial): Promise<number>;
  /** How often a service has found so far that others have done its work. */
  lateWork(trial: Trial, zombie: ServiceProcess): Promise<number>;
}

/** One Inventory, three, and one again, on one database under load. */
export function testRebalances(plan: RebalancePlan): void {
  experiment(
    {
      name: "rebalances",
      model: plan.model,
      question:
        "Inventory is one process, then three, then one again, one killed and one a zombie: is anything doubled or oversold?",
      method: `${RATE_PER_S} orders/s all along, onto one shared database. Two more processes join; in the middle of their work (the database is locked, so that all three wait to commit) one is killed and one paused, until the broker has given its work to the other; then it goes on where it was. Twice, side by side: with ${STOCKS.plenty} units of everything, and with ${STOCKS.little}, which run out.`,
      disproof:
        "Anything illegal in the checker's eyes: more reserved than there was, stock that doesn't add up, an order without an end. An answer that the model may not give. A zombie that had nothing in hand.",
      requirements: [],
      parameters: { rate_per_s: RATE_PER_S, ...STOCKS },
    },
    async (run) => {
      const names = Object.keys(STOCKS) as (keyof typeof STOCKS)[];
      conclude(run, await Promise.all(names.map((name) => oneThreeOne(run, plan, name))));
    },
  );
}

interface Seen {
  name: string;
  verdict: Verdict;
  illegalAnswers: string[];
  soldOut: number;
  joinedMs: number;
  missedMs: number;
  late: number;
}

async function oneThreeOne(
  run: Run,
  plan: RebalancePlan,
  name: keyof typeof STOCKS,
): Promise<Seen> {
  const env = { OPENING_STOCK: String(STOCKS[name]) };
  await using history = new History(`${run.folder}/${name}.history.jsonl`);
  await using trial = await trialOf(run, name, { env, history });
  const { inventory } = trial.campus;
  const orders = keepOrdering(trial, RATE_PER_S);
  const become = (n: number) =>
    eventually(`${n} consumers have work`, async () => (await plan.consumers(trial)) === n, {
      timeoutMs: MISSED_MS,
      everyMs: 100,
    });
  await orders.more(SOME);
  run.progress(`${name}: two more join`);
  await using second = await inventory.another(`${run.folder}/${name}/second`);
  await using third = await inventory.another(`${run.folder}/${name}/third`);
  const joined = await timed(() => become(3));
  await orders.more(SOME);

  run.progress(`${name}: one is killed, one paused, while they wait to commit`);
  await whileLocked(inventory, async () => {
    await waitToCommit([inventory, second, third]);
    await Promise.all([second.kill(), third.pause()]);
  });
  const lateBefore = await plan.lateWork(trial, third);
  const missed = await timed(() => become(1));
  await orders.more(SOME);
  await third.resume();
  const late = await eventually(
    "the zombie does its work again",
    async () => (await plan.lateWork(trial, third)) - lateBefore || undefined,
  );
  await become(2);
  run.progress(`${name}: it is back; then it stops`);
  await orders.more(SOME);
  await third.stop();
  await become(1);
  await orders.more(SOME);
  await orders.stop();
  await trial.settle();
  return {
    name,
    verdict: await trial.verdict(),
    illegalAnswers: illegalAnswers(plan.model, trial.operations),
    soldOut: count(trial.campus.order, "SELECT count(*) FROM orders WHERE reason = 'out_of_stock'"),
    joinedMs: joined.tookMs,
    missedMs: missed.tookMs,
    late,
  };
}

/** Nobody can commit meanwhile. */
async function whileLocked(
  { database }: { database: string },
  work: () => Promise<void>,
): Promise<void> {
  using db = new Database(database);
  db.run("PRAGMA busy_timeout = 5000");
  db.run("BEGIN IMMEDIATE");
  try {
    await work();
  } finally {
    db.run("ROLLBACK");
  }
}

/** Long for an answer, on a busy machine too. SQLite waits for its lock four times as long. */
const BLOCKED_MS = 500;

/** Returns when each has work in its hand: who waits for SQLite's lock answers nobody. */
async function waitToCommit(services: readonly ServiceProcess[]): Promise<void> {
  await eventually("all of them wait to commit", async () => {
    const answers = await Promise.allSettled(
      services.map(({ url }) =>
        fetch(`${url}/health`, { signal: AbortSignal.timeout(BLOCKED_MS) }),
      ),
    );
    return answers.every(({ status }) => status === "rejected");
  });
}

function conclude(run: Run, seen: readonly Seen[]): void {
  const sum = (of: (one: Seen) => number) => seen.reduce((total, one) => total + of(one), 0);
  run.table({
    id: "rebalances",
    title: "One Inventory, three, one again",
    columns: [
      { name: "stock" },
      { name: "orders" },
      { name: "ended well" },
      { name: "out of stock" },
      { name: "three at work after", unit: "s" },
      { name: "the killed and the paused missed after", unit: "s" },
      { name: "done again by the zombie" },
      { name: "doubled, or out of balance" },
      { name: "oversold" },
      { name: "violations" },
    ],
    rows: seen.map(({ joinedMs, late, missedMs, name, soldOut, verdict }) => [
      name,
      verdict.attempted,
      verdict.confirmed + verdict.reserved,
      soldOut,
      joinedMs / 1_000,
      missedMs / 1_000,
      late,
      verdict.doubled.length + verdict.unbalanced.length,
      verdict.oversold.length,
      illegal(verdict),
    ]),
  });
  const struck = { kills: seen.length, faults: seen.length };
  noteCounts(
    run,
    seen.map(({ verdict }) => verdict),
    struck,
  );
  run.figure(
    "done_again",
    sum(({ late }) => late),
  );
  run.figure(
    "sold_out",
    sum(({ soldOut }) => soldOut),
  );
  for (const { illegalAnswers: answers, name, soldOut, verdict } of seen) {
    run.holds(`${name}: the checker finds nothing illegal`, violations(verdict), {});
    run.holds(`${name}: no dead letters`, verdict.dead, []);
    run.holds(`${name}: no answer was illegal`, answers, []);
    run.holds(`${name}: orders were acknowledged`, verdict.acknowledged > 0, true);
    run.holds(`${name}: something ran out`, soldOut > 0, name === "little");
  }
}

function illegal(verdict: Verdict): number {
  return Object.values(violations(verdict)).flat().length;
}
