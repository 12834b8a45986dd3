import { goodAnswers } from "../answers.ts";
import { noteCounts, RATE_PER_S } from "../common.ts";
import { type Verdict, violations } from "@lab/lab/check/checker";
import type { Definition, Run } from "@lab/lab/experiment/experiment";
import type { Model } from "@lab/evidence/evidence";
import type { Operation } from "@lab/lab/load/history";
import type { FaultProxy } from "@lab/lab/proxy/proxy";
import type { ToxicRequest } from "@lab/lab/proxy/toxics";
import type { Trial } from "@lab/lab/experiment/trial";
import { eventually, nowUs, outage } from "@lab/lab/host/waiting";
import { count, read } from "@lab/lab/probes/databases";
import { answerOf } from "@lab/lab/load/history";
import { repeatedIn } from "@lab/lab/services/logs";

/** A good network between two faults, so long. */
const GOOD_S = 0.4;
/** Orders are sent in portions of so long: how long a fault lasts isn't always known before. */
const PORTION_S = 0.2;
/** Less than the orders need. */
const NARROW_KB_PER_S = 0.3 * RATE_PER_S;
const RECOVERY_TIMEOUT_MS = 60_000;

/** A bad network for a while. */
export interface NetworkFault {
  /** Where, and what: `order - inventory: reply lost (timeout)`. */
  name: string;
  proxy: FaultProxy;
  /** `down`: cut and refused. `half-open`: what is open goes silent for good, new connections are fine. */
  toxics: ToxicRequest[] | "down" | "half-open";
  lastsS: number;
  /** What a client may be told because of it, and somebody must be. */
  answers?: string[];
  /** The slowest order must take this long to its end, or the fault wasn't felt. */
  delaysMs?: number;
  /** Messages must come again because of it. */
  repeats?: true;
}

/** The definition that the three models have in common. */
export function networkFaults(model: Model, method: string, answers: string): Definition {
  return {
    name: "network-faults",
    model,
    question:
      "The network is slow, loses, cuts or goes silent: who notices, and does it pass by itself?",
    method: `${RATE_PER_S} orders/s all along. ${method} One fault after the other, each toxic upstream and then downstream; nobody touches the services.`,
    disproof: `${answers} A fault that nobody feels, or for which the proxy did nothing. A fault after which an order stays open, or an answer is bad, until somebody restarts a service. Anything illegal in the checker's eyes.`,
    requirements: [],
    parameters: { rate_per_s: RATE_PER_S },
  };
}

/** What a toxic is called, the toxic, and what shows that it was felt; for both directions of a line. */
export type EachWay = [
  words: string,
  ToxicRequest,
  felt: Pick<NetworkFault, "answers" | "delaysMs">,
];

/** Each of them upstream, and then downstream. */
export function eachWay(
  proxy: FaultProxy,
  lastsS: number,
  toxics: readonly EachWay[],
): NetworkFault[] {
  return toxics.flatMap(([words, toxic, felt]) =>
    (["upstream", "downstream"] as const).map((stream) => ({
      name: `${words}, ${stream}`,
      proxy,
      toxics: [{ ...toxic, stream }],
      lastsS,
      ...felt,
    })),
  );
}

/** Several connections reach it while such a fault lasts, whatever the rate. */
const CUT_BYTES = 50 * RATE_PER_S;

/**
 * What a bad line to a broker does, for both models that have one. `mildMs`: by how much latency
 * and a cut in the middle must delay the slowest order at least.
 */
export function brokerLinkFaults(proxy: FaultProxy, mildMs: number): NetworkFault[] {
  return [
    ...eachWay(proxy, 1.5, [
      [
        "latency, 160 ± 20 ms",
        { type: "latency", attributes: { latency: 160, jitter: 20 } },
        { delaysMs: mildMs },
      ],
      [
        `bandwidth, ${NARROW_KB_PER_S} KB/s`,
        { type: "bandwidth", attributes: { rate: NARROW_KB_PER_S } },
        { delaysMs: 500 },
      ],
      ["cut again and again (reset_peer)", { type: "reset_peer" }, { delaysMs: 1_000 }],
      [
        `cut in the middle (limit_data, ${CUT_BYTES.toLocaleString("en")} bytes)`,
        { type: "limit_data", attributes: { bytes: CUT_BYTES } },
        { delaysMs: mildMs },
      ],
    ]),
    {
      name: "silence (timeout), upstream: what is published is lost",
      proxy,
      toxics: [{ type: "timeout", stream: "upstream" }],
      lastsS: 1.5,
      delaysMs: 1_000,
    },
    {
      name: "silence (timeout), downstream: the confirm is lost",
      proxy,
      toxics: [{ type: "timeout", stream: "downstream" }],
      lastsS: 1.5,
      delaysMs: 1_000,
      // The broker has stored it; without the confirm it is published again.
      repeats: true,
    },
    { name: "down", proxy, toxics: "down", lastsS: 5, delaysMs: 4_000 },
    { name: "half-open", proxy, toxics: "half-open", lastsS: 1, delaysMs: 5_000 },
  ];
}

/** What was seen of one fault. Times are those of `nowUs`. */
interface Seen {
  fault: NetworkFault;
  /** It began, it ended, and all was as before. */
  beganUs: number;
  endedUs: number;
  recoveredUs: number;
  /** How often the proxy did something to what was sent. */
  struck: number;
  /** Messages that had come again when it began. */
  repeated: number;
}

/** Goes through the faults under load, and holds what was seen against what each may do. */
export async function runFaults(
  run: Run,
  trial: Trial,
  faults: readonly NetworkFault[],
): Promise<Verdict> {
  const pids = () => trial.campus.services.map(({ pid }) => pid);
  const started = pids();
  const seen: Seen[] = [];
  let over = false;
  const load = (async () => {
    const portions: Promise<unknown>[] = [];
    while (!over) {
      portions.push(trial.load(RATE_PER_S, PORTION_S));
      await outage(PORTION_S);
    }
    await Promise.all(portions);
  })();
  try {
    for (const fault of faults) {
      run.progress(fault.name);
      await outage(GOOD_S);
      const repeated = repeatedIn(run.folder);
      seen.push({ fault, repeated, ...(await strike(trial, fault)) });
    }
    await outage(GOOD_S);
  } finally {
    over = true;
    await load;
  }
  await trial.settle();
  const verdict = await trial.verdict();
  report(run, trial, seen, verdict);
  run.holds("nobody was started again", pids(), started);
  run.holds("no order is dead", verdict.dead, []);
  run.holds("the checker finds nothing illegal", violations(verdict), {});
  return verdict;
}

async function strike(trial: Trial, { lastsS, proxy, toxics }: NetworkFault) {
  const { struck } = proxy.counters;
  const beganUs = nowUs();
  if (toxics === "down") await proxy.disable();
  else if (toxics === "half-open") proxy.freeze();
  else for (const toxic of toxics) proxy.add(toxic);
  await outage(lastsS);
  const endedUs = nowUs();
  if (toxics === "down") await proxy.enable();
  else proxy.clear();
  const since = new Date().toISOString();
  await eventually("nothing is left of the fault", () => isAsBefore(trial, since), {
    timeoutMs: RECOVERY_TIMEOUT_MS,
    everyMs: 20,
  });
  return { beganUs, endedUs, recoveredUs: nowUs(), struck: proxy.counters.struck - struck };
}

/** Whether all services are healthy, and nothing is open or owed since before that time. */
async function isAsBefore(trial: Trial, since: string): Promise<boolean> {
  const { campus, facts } = trial;
  const releases = "SELECT count(*) FROM releases WHERE owed_since < ?";
  const left = [
    trial.openOrders(since),
    ...(facts.broker ? [] : [count(campus.order, releases, since)]),
  ];
  if (left.some((n) => n !== 0)) throw new Error(`left, and releases: ${left.join(", ")}`);
  const answers = await Promise.all(campus.services.map(({ url }) => fetch(`${url}/health`)));
  return answers.every(({ ok }) => ok);
}

/** Holds what was seen of each fault against what it may do, and makes the table. */
function report(run: Run, trial: Trial, seen: readonly Seen[], verdict: Verdict): void {
  const ends = completionsMs(trial);
  const lost = new Set([...verdict.lost, ...verdict.stuck]);
  const doubled = new Set(verdict.doubled);
  const good = goodAnswers(trial.model);
  const told = seen.map(({ fault, ...at }, n) => {
    const { answers = [], delaysMs = 0, name, repeats = false } = fault;
    const nextUs = seen[n + 1]?.beganUs ?? Number.POSITIVE_INFINITY;
    const repeated = (seen[n + 1]?.repeated ?? repeatedIn(run.folder)) - at.repeated;
    // Under way at some time of it, or on their way to their end when it had passed.
    const struck = trial.operations.filter(
      ({ ended_us, started_us }) => started_us <= at.recoveredUs && ended_us >= at.beganUs,
    );
    const during = struck.filter(({ started_us }) => started_us <= at.endedUs);
    const after = trial.operations.filter(
      ({ ended_us, started_us }) => started_us > at.recoveredUs && ended_us < nextUs,
    );
    const slowestMs = Math.max(0, ...struck.map(({ order_id = "" }) => ends.get(order_id) ?? 0));
    const among = (ids: Set<string>) => struck.filter(({ order_id = "" }) => ids.has(order_id));
    const recoveredS = (at.recoveredUs - at.endedUs) / 1e6;
    return {
      name,
      recoveredS,
      row: [
        name,
        rounded((at.endedUs - at.beganUs) / 1e6, 1),
        [...answersOf(during)].map(([answer, { length }]) => `${length} ${answer}`).join(", "),
        rounded(slowestMs / 1e3, 2),
        rounded(recoveredS, 2),
        among(lost).length,
        among(doubled).length,
      ],
      held: {
        wrong: [...answersOf(struck).keys()].filter((one) => ![...good, ...answers].includes(one)),
        answered: answers.filter((one) => answersOf(struck).has(one)).length > 0,
        // What is slow may be a busy machine's doing; this is the proxy's own.
        struck: fault.toxics === "down" || at.struck > 0,
        delayed: slowestMs >= delaysMs,
        repeated: repeats && repeated > 0,
        bad_afterwards: [...answersOf(after).keys()].filter((one) => !good.includes(one)),
      },
      expected: {
        wrong: [],
        answered: answers.length > 0,
        struck: true,
        delayed: true,
        repeated: repeats,
        bad_afterwards: [],
      },
    };
  });
  run.table({
    id: "network-faults",
    title: "What each network fault did",
    columns: [
      { name: "fault" },
      { name: "lasted", unit: "s" },
      { name: "answers while it lasted" },
      { name: "slowest order, to its end", unit: "s" },
      { name: "recovered after", unit: "s" },
      { name: "lost" },
      { name: "doubled" },
    ],
    rows: told.map(({ row }) => row),
    note: "Recovered: every order from before the end of the fault has ended, no release is owed for one, every service is healthy. Half-open lasts for the connections that it struck, and is over for new ones at once.",
  });
  noteCounts(run, [verdict], { kills: 0, faults: seen.length });
  run.figure("slowest_recovery_s", rounded(Math.max(...told.map((one) => one.recoveredS)), 2));
  for (const { expected, held, name } of told) {
    run.holds(`${name}: it is felt, as it may be, and passes`, held, expected);
  }
}

function answersOf(operations: readonly Operation[]): Map<string, Operation[]> {
  return Map.groupBy(operations, answerOf);
}

/** Milliseconds from placing an order to its end, by the services' own times. */
function completionsMs({ campus }: Trial): Map<string, number> {
  const ended = read<{ order_id: string; placed_at: string; at: string }>(
    campus.order,
    "SELECT order_id, placed_at, max(at) AS at FROM orders JOIN order_steps USING (order_id) GROUP BY order_id",
  );
  return new Map(
    ended.map(({ at, order_id, placed_at }) => [order_id, Date.parse(at) - Date.parse(placed_at)]),
  );
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
