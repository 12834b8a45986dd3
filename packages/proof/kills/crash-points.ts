import { violations } from "@lab/lab/check/checker";
import type { Model, Table } from "@lab/evidence/evidence";
import { byLength } from "@lab/evidence/settings";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { History } from "@lab/lab/load/history";
import type { ServiceProcess } from "@lab/lab/services/processes";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { inTurn } from "@lab/lab/host/in-turn";
import { eventually } from "@lab/lab/host/waiting";
import { illegalAnswers } from "../answers.ts";
import type { EVERYWHERE } from "../weaving/crash-sites.ts";
import { keepOrdering, noteRepeated } from "../common.ts";
import { repeatsIn } from "@lab/lab/services/logs";

/** Orders before the crash, which lies in the middle, and after it. */
const AROUND = byLength({ short: 5, full: 15 });
/** 128 + SIGKILL. */
const KILLED = 137;
/**
 * After so many orders a point counts as not reached. Not a time: that would be too short on a busy
 * machine. Many, since behind a queue a busy service may be far behind the answers.
 */
const MOST_ORDERS = 3_000;
/** Enough for MOST_ORDERS answers on a slow machine. */
const ANSWERED_MS = 300_000;

/** What has to happen besides load for a point to be reached, and what has to be right afterwards. */
export interface CrashSituation {
  title: string;
  /** Under load, before the service is started with its crash. */
  before?(trial: Trial, service: ServiceProcess): Promise<void>;
  /** Under load, with the crash ahead. */
  happen?(trial: Trial, service: ServiceProcess): Promise<void>;
  /** With everything at rest again: what is wrong, in words. */
  wrong?(trial: Trial): Promise<string[]>;
}

/** A gap between two effects: where it is, at which pass of it the process dies, and what leads there. */
export type CrashPoint = readonly [
  service: string,
  point: string,
  pass: number,
  situation?: CrashSituation,
];

interface Suite {
  model: Model;
  ratePerS: number;
  /** Points are gone through side by side, in as many trials. */
  lanes: number;
  /** For every service. */
  env: Record<string, string>;
  points: readonly CrashPoint[];
  /** By `service point`: which ledger must have met a message again, and which must not, for the point to lie where its name says. */
  again?: Record<string, Record<string, boolean>>;
}

/** In a service's start: nothing has to lead there. Visited in its very first start, too. */
export const STARTING: CrashSituation = { title: "it starts" };

/** No database, no queue or topic is there yet. */
const FIRST_START: CrashSituation = { title: "its very first start" };

const STOPPING: CrashSituation = {
  title: "SIGTERM",
  happen: async (_, service) => void (await service.stop()),
};

/** A stop's own points. */
export const stopping = (service: string, point: string): CrashPoint => [
  service,
  point,
  1,
  STOPPING,
];

/** What leads to the points that every service has. */
const SITUATIONS: Record<keyof typeof EVERYWHERE, CrashSituation> = {
  "started-before-ready": STARTING,
  stopping: STOPPING,
  stopped: STOPPING,
};

const everywhere = (service: string): CrashPoint[] =>
  Object.entries(SITUATIONS).map(([point, situation]) => [service, point, 1, situation]);

/** Has each service kill itself in each gap between two effects, under load, and holds the checker's verdict on each. */
export function testCrashPoints(fullSuite: Suite): void {
  const suite = { ...fullSuite, ratePerS: byLength({ short: 8, full: fullSuite.ratePerS }) };
  const { env, lanes, model, ratePerS } = suite;
  const services = [...new Set(suite.points.map(([service]) => service))];
  const points = [...services.flatMap(everywhere), ...suite.points];
  // One visit for all services that have the point: each dies at it before the model has ever run.
  const firsts = Map.groupBy(
    points
      .filter(([, , , situation]) => situation === STARTING)
      .map(([service, point]): CrashPoint => [service, point, 1, FIRST_START]),
    ([, point]) => point,
  );
  experiment(
    {
      name: "crash-points",
      model,
      question:
        "A service dies in any gap between two of its effects: is anything lost or doubled?",
      method: `Every gap has a name, and LAB_CRASH_AT makes a service kill itself (SIGKILL) when it passes it for the n-th time, in the middle of a load of ${ratePerS} orders/s in which some messages fail too. It is started again, all comes to rest, and the checker looks. The gaps of a start are visited in a service's very first start, too.`,
      disproof:
        "A point that isn't reached, an end by anything else than its own SIGKILL, anything that the checker calls illegal, a dead letter, an answer that the model may not give.",
      requirements: [],
      parameters: { points: points.length, lanes, rate_per_s: ratePerS, ...env },
    },
    async (run) => {
      const left = [...points];
      const leftFirst = [...firsts.values()];
      const visits: Visit[] = [];
      // One after the other: all at once they would keep each other from starting.
      const enter = inTurn();
      await Promise.all(
        Array.from({ length: lanes }, async (_, n) => {
          for (let round = 0; left.length > 0; round += 1) {
            const name = `lane-${n}-${round}`;
            await using history = new History(`${run.folder}/${name}/history.jsonl`);
            await using trial = await enter(() => trialOf(run, name, { history, env }));
            visits.push(...(await visitPoints(run, trial, suite, left)));
          }
          for (let same = leftFirst.shift(); same; same = leftFirst.shift()) {
            visits.push(await visitFirstStarts(run, suite, same, enter));
          }
        }),
      );
      conclude(run, [...points, ...[...firsts.values()].flat()], visits);
    },
  );
}

/** Takes points from the list and visits them, until it's empty or something illegal was found: the others shall begin with nothing broken. */
async function visitPoints(
  run: Run,
  trial: Trial,
  { again = {}, ratePerS }: Suite,
  left: CrashPoint[],
): Promise<Visit[]> {
  const visits: Visit[] = [];
  let before = NOTHING;
  let point = left.shift();
  let isAhead = false;
  while (point !== undefined) {
    const [service, name, , situation] = point;
    const ledgers = again[`${service} ${name}`] ?? {};
    const from = trial.operations.length;
    const seen = repeatsOf(trial);
    const next = takeNext(service, left);
    const { kills, problems } = await crashAt(trial, ratePerS, point, { isAhead, next });
    const visited = { points: [point], kills, problems };
    const { after, visit } = await look(run, trial, { ...visited, before, from });
    visits.push(visit);
    problems.push(...((await situation?.wrong?.(trial)) ?? []));
    for (const [ledger, must] of Object.entries(ledgers)) {
      const repeats = repeatsOf(trial).get(ledger)! - seen.get(ledger)!;
      if (repeats > 0 !== must) problems.push(`${ledger} met ${repeats} messages again`);
    }
    if (visit.illegal.length + visit.dead > 0) {
      if (next !== undefined) left.unshift(next);
      break;
    }
    before = after;
    point = next ?? left.shift();
    isAhead = next !== undefined;
  }
  return visits;
}

/** Takes the next point from the list that the same service may be started with now and die at later. */
function takeNext(service: string, left: CrashPoint[]): CrashPoint | undefined {
  const at = left.findIndex(
    ([name, , , situation]) => name === service && situation !== STARTING && !situation?.before,
  );
  return at < 0 ? undefined : left.splice(at, 1)[0];
}

/** Lets each service die there before it has ever been up, and then starts the model on what that left. */
async function visitFirstStarts(
  run: Run,
  { env, ratePerS }: Suite,
  points: readonly CrashPoint[],
  enter: <T>(start: () => Promise<T>) => Promise<T>,
): Promise<Visit> {
  const [[, name]] = points as [CrashPoint];
  const folder = `first-${name}`;
  await using history = new History(`${run.folder}/${folder}/history.jsonl`);
  const crash = { ...env, LAB_CRASH_AT: `${name}:1` };
  const problems: string[] = [];
  for (const [service] of points) {
    const options = { history, env: crash, services: [service] };
    const end = await enter(() =>
      trialOf(run, folder, options).then(
        async (alive) => {
          await alive[Symbol.asyncDispose]();
          return "not reached";
        },
        (error: Error) => (hasKilledItself(error) ? undefined : error.message),
      ),
    );
    if (end !== undefined) problems.push(`${service}: ${end}`);
  }
  const kills = points.length - problems.length;
  await using trial = await enter(() => trialOf(run, folder, { history, env }));
  const orders = keepOrdering(trial, ratePerS);
  await orders.more(2 * AROUND);
  await orders.stop();
  return (await look(run, trial, { points, kills, problems, before: NOTHING, from: 0 })).visit;
}

/** How often each service's ledger knew a message that came again. */
function repeatsOf({ campus }: Trial): Map<string, number> {
  return new Map(campus.services.map(({ logFile, name }) => [name, repeatsIn(logFile)]));
}

/** What is there after a visit, once all is at rest. `problems` may grow still. */
async function look(
  run: Run,
  trial: Trial,
  {
    before,
    from,
    kills,
    points,
    problems,
  }: Pick<Visit, "kills" | "points" | "problems"> & { before: Counts; from: number },
): Promise<{ visit: Visit; after: Counts }> {
  await trial.settle();
  const verdict = await trial.verdict();
  // What a situation makes dead is no order.
  if (verdict.dead.length > 0) problems.push(`${verdict.dead.length} dead orders`);
  problems.push(...illegalAnswers(trial.model, trial.operations.slice(from)));
  const found = Object.entries(violations(verdict));
  const illegal = found.map(([kind, list]) => `${list.length} ${kind}, such as ${list[0]}`);
  const after: Counts = {
    orders: verdict.attempted,
    acknowledged: verdict.acknowledged,
    unknown: verdict.unknown,
    recovered: verdict.recovered.length,
    dead: verdict.dead.length,
  };
  if (after.acknowledged === before.acknowledged) problems.push("no order was acknowledged");
  const visit: Visit = {
    points,
    kills,
    orders: after.orders - before.orders,
    acknowledged: after.acknowledged - before.acknowledged,
    unknown: after.unknown - before.unknown,
    recovered: after.recovered - before.recovered,
    dead: after.dead - before.dead,
    violations: found.flatMap(([, list]) => list).length,
    illegal,
    problems,
  };
  run.progress([nameOf(visit), ...illegal, ...problems].join("; "));
  return { visit, after };
}

interface Counts {
  orders: number;
  acknowledged: number;
  unknown: number;
  recovered: number;
  dead: number;
}

const NOTHING: Counts = { orders: 0, acknowledged: 0, unknown: 0, recovered: 0, dead: 0 };

interface Visit extends Counts {
  /** One, or the same of several services. */
  points: readonly CrashPoint[];
  /** Ends by a SIGKILL of its own. */
  kills: number;
  violations: number;
  /** The same in words, kind by kind. */
  illegal: string[];
  /** What else went otherwise than it should. */
  problems: string[];
}

/**
 * Lets a service die at a crash point under load and starts it again; returns how often it died, and
 * what was wrong. With `isAhead` it already runs with this crash, which its file arms now. It is
 * started again with the `next` crash unarmed, so that each visit takes one start.
 */
async function crashAt(
  trial: Trial,
  ratePerS: number,
  crash: CrashPoint,
  { isAhead, next }: { isAhead: boolean; next: CrashPoint | undefined },
): Promise<Pick<Visit, "kills" | "problems">> {
  const [name, point, , situation] = crash;
  const service = trial.campus.services.find((one) => one.name === name);
  if (!service) throw new Error(`${trial.model} has no ${name}`);
  const orders = keepOrdering(trial, ratePerS);
  try {
    await orders.more(AROUND);
    await situation?.before?.(trial, service);
    // A situation's `before` may have ended the service by a crash of its own: that one counts too.
    const earlierEnd = await Promise.race([service.exited, Promise.resolve(undefined)]);
    if (isAhead) await Bun.write(armedBy(service, crash), "");
    else await startToDie(service, crash);
    const { exited } = service;
    await situation?.happen?.(trial, service);
    let code: number | undefined;
    void exited.then((ended) => (code = ended));
    const enough = trial.operations.length + MOST_ORDERS;
    await eventually(
      `${name} reaches ${point}, or ${MOST_ORDERS} orders are answered`,
      () => code !== undefined || trial.operations.length >= enough,
      { timeoutMs: ANSWERED_MS, everyMs: 20 },
    );
    await service.restart(
      next && { LAB_CRASH_AT: passOf(next), LAB_CRASH_ARMED_BY: armedBy(service, next) },
    );
    await orders.more(AROUND);
    const ends = earlierEnd === undefined ? [code] : [earlierEnd, code];
    return {
      kills: ends.filter((end) => end === KILLED).length,
      problems: ends
        .filter((end) => end !== KILLED)
        .map((end) => (end === undefined ? "not reached" : `ended with exit code ${end}`)),
    };
  } finally {
    await orders.stop();
  }
}

/** As LAB_CRASH_AT has it. */
const passOf = ([, point, pass]: CrashPoint) => `${point}:${pass}`;

/** The file with which the passes of a crash that is ahead begin to count. */
const armedBy = ({ database }: ServiceProcess, [, point]: CrashPoint) =>
  `${database}.${point}.armed`;

/** It may die of it before it is ready. */
async function startToDie(service: ServiceProcess, crash: CrashPoint): Promise<void> {
  try {
    await service.restart({ LAB_CRASH_AT: passOf(crash) });
  } catch (error) {
    if (!hasKilledItself(error as Error)) throw error;
  }
}

function hasKilledItself({ message }: Error): boolean {
  return message.includes(`with exit code ${KILLED}`);
}

/** Its services, and the point. */
function nameOf({ points }: Pick<Visit, "points">): string {
  return `${servicesOf(points)} ${points[0]![1]}`;
}

const servicesOf = (points: readonly CrashPoint[]) => points.map(([service]) => service).join(", ");

function conclude(run: Run, points: readonly CrashPoint[], visits: readonly Visit[]): void {
  const ordered = points.flatMap((point) => visits.filter((visit) => visit.points[0] === point));
  run.table(visitsTable(ordered));
  const sum = (of: (visit: Visit) => number) => visits.reduce((all, one) => all + of(one), 0);
  run.figure("points", points.length);
  for (const name of ["orders", "acknowledged", "unknown", "recovered"] as const) {
    run.figure(
      name,
      sum((visit) => visit[name]),
    );
  }
  run.figure(
    "kills",
    sum(({ kills }) => kills),
  );
  run.figure("faults", 0);
  run.figure(
    "violations",
    sum((visit) => visit.violations),
  );
  noteRepeated(run);
  const named = (of: (visit: Visit) => string[]) =>
    ordered.flatMap((visit) => of(visit).map((what) => `${nameOf(visit)}: ${what}`));
  run.holds(
    "the checker finds nothing illegal, at no point",
    named(({ illegal }) => illegal),
    [],
  );
  run.holds(
    "each service has killed itself where it should, and came back to right things",
    named(({ problems }) => problems),
    [],
  );
  const visited = sum((visit) => visit.points.length);
  run.holds("every point was visited", visited, points.length);
}

function visitsTable(visits: readonly Visit[]): Table {
  return {
    id: "points",
    title: "Killed by itself in every gap",
    columns: [
      { name: "service" },
      { name: "point" },
      { name: "when" },
      { name: "orders" },
      { name: "unknown" },
      { name: "recovered" },
      { name: "violations" },
    ],
    rows: visits.map(({ orders, points, recovered, unknown, violations: found }) => {
      const [[, name, pass, situation]] = points as readonly [CrashPoint];
      return [
        servicesOf(points),
        name,
        situation?.title ?? `pass ${pass} under load`,
        orders,
        unknown,
        recovered,
        found,
      ];
    }),
    note: "Each point says what was done last before the SIGKILL, most of them also what would have come next. At its very first start a service finds no database, queue or topic. Unknown: the client had no answer. Recovered: it had none, and its order has ended all the same.",
  };
}
