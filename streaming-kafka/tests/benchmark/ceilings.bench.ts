/** The streaming model beside what Kafka gives at most, and beside the rates that it should have. */
import { acceptedPerS, OPENING_STOCK, SATURATED_S } from "@lab/bench/load";
import { holdRatios, type Ratio } from "@lab/bench/ratios";
import { ROUNDS, type Sample, sampleOf } from "@lab/bench/rounds";
import { runYardstick } from "@lab/bench/yardstick";
import type { Bulk } from "@lab/contracts/bulk";
import { byLength } from "@lab/evidence/settings";
import type { Broker } from "@lab/lab/brokers/broker";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { eventually, nowUs } from "@lab/lab/host/waiting";
import { post } from "@lab/lab/load/load";
import { count, OUTBOX_DEPTH, read } from "@lab/lab/probes/databases";
import { withAdmin } from "@lab/lab/probes/kafka-tools";
import { beginReplay, fetchReplay } from "@lab/lab/probes/replay";
import { type Campus, startModel } from "@lab/lab/services/processes";
import { PARTITIONS, SEND_BATCH, topics } from "../../topics.ts";

const BULK = byLength({ short: 5_000, full: 100_000 });
const WAIT = { timeoutMs: 300_000, everyMs: 10 };
// A replay can be asked for only where faults may be.
const ENV = { LAB_FAULTS: "on", OPENING_STOCK };

/** What one round measures; a second. */
interface Round {
  stored: number;
  acknowledged: number;
  drained: number;
  relayed: number;
  replayed: number;
  singles: number;
  singlesOfB: number;
}

experiment(
  {
    name: "ceilings",
    model: "streaming-kafka",
    question: "How close is the streaming model to what Kafka gives at most?",
    method: `After one as warm-up, ${ROUNDS} rounds, each with new services and topics: ${BULK.toLocaleString("en")} orders in one POST /orders/bulk, with the other services stopped; the same orders drained by Inventory, with Analytics and the orders' status following; the same records by a program that only consumes, produces and commits; a replay of all events; single orders in ${SATURATED_S} s at 100 connections, and the same with RabbitMQ's model.`,
    disproof: "A rate or ratio that isn't reached.",
    requirements: [],
    parameters: { rounds: ROUNDS, bulk: BULK, saturated_s: SATURATED_S },
    timeoutS: 3_600,
  },
  async (run) => {
    const kafka = await run.broker("kafka");
    const rabbitmq = await run.broker("rabbitmq");
    const rounds: Round[] = [];
    for (let n = 0; n <= ROUNDS; n += 1) {
      run.progress(n === 0 ? "warm-up" : `round ${n} of ${ROUNDS}`);
      const round = await measureRound(run, n, kafka, rabbitmq);
      if (n > 0) rounds.push(round);
    }
    const of = (name: keyof Round) => sampleOf(rounds.map((round) => round[name]));
    table(run, {
      "orders of a bulk stored": of("stored"),
      "orders of a bulk acknowledged by Kafka": of("acknowledged"),
      "orders drained by Inventory, all following": of("drained"),
      "records by consume, produce, commit": of("relayed"),
      "events in a replay": of("replayed"),
      "single orders at 100 connections": of("singles"),
      "the same in RabbitMQ's model": of("singlesOfB"),
    });
    const rate = (figure: string, name: keyof Round, goal: number): Ratio => ({
      figure,
      unit: "1/s",
      ours: of(name).median,
      beside: "the goal",
      yardstick: goal,
      bound: { least: 1 },
    });
    holdRatios(run, [
      rate("orders of a bulk stored", "stored", 40_000),
      rate("orders of a bulk acknowledged", "acknowledged", 40_000),
      rate("orders drained, all following", "drained", 25_000),
      rate("events in a replay", "replayed", 100_000),
      {
        figure: "single orders at 100 connections",
        unit: "1/s",
        ours: of("singles").median,
        beside: "RabbitMQ's model",
        yardstick: of("singlesOfB").median,
        bound: { least: 0.9 },
      },
    ]);
  },
);

async function measureRound(run: Run, n: number, kafka: Broker, rabbitmq: Broker): Promise<Round> {
  const namespace = `${run.namespace}r${n}-`;
  const names = topics(namespace);
  await using campus = await startModel("streaming-kafka", {
    folder: `${run.folder}/round-${n}`,
    broker: kafka,
    namespace,
    env: ENV,
  });
  const { downstream: analytics, inventory, order } = campus;
  await inventory.stop();
  await analytics.stop();
  const { stored, acknowledged } = await bulkPerS(campus);

  const into = `${namespace}relayed`;
  await withAdmin(kafka.address, (admin) =>
    admin.createTopics({ topics: [{ topic: into, numPartitions: PARTITIONS }] }),
  );
  const relayed = await runYardstick("kafka-relay", [
    kafka.address,
    names.orderEvents,
    into,
    `${namespace}relay`,
    BULK,
    SEND_BATCH,
  ]);
  const drained = await drainPerS(campus);
  const replayed = await replayPerS(analytics.url);
  const singles = await acceptedPerS(order.url, 100);
  return { stored, acknowledged, relayed, drained, replayed, singles, singlesOfB: await ofB() };

  async function ofB(): Promise<number> {
    await using other = await startModel("async-rabbitmq", {
      folder: `${run.folder}/round-${n}/b`,
      broker: rabbitmq,
      namespace,
      env: ENV,
    });
    return await acceptedPerS(other.order.url, 100);
  }
}

/** The rates at which a bulk's orders are stored, and acknowledged by Kafka. */
async function bulkPerS({ order }: Campus): Promise<Pick<Round, "stored" | "acknowledged">> {
  const request = { count: BULK, seed: 1, kitchens: 24, fail_rate: 0 };
  const fromUs = nowUs();
  const { body } = await post(`${order.url}/orders/bulk`, request);
  const { bulk_id } = body as Bulk;
  const look = async () => {
    const bulk = (await (await fetch(`${order.url}/orders/bulk/${bulk_id}`)).json()) as Bulk;
    return bulk.state === "finished";
  };
  await eventually("all are stored", look, WAIT);
  const storedUs = nowUs();
  await eventually("all are acknowledged", () => count(order, OUTBOX_DEPTH) === 0, WAIT);
  return { stored: perS(BULK, fromUs, storedUs), acknowledged: perS(BULK, fromUs, nowUs()) };
}

/** From Inventory's first record until the last order's status is known and Analytics has counted all. */
async function drainPerS({ downstream: analytics, inventory, order }: Campus): Promise<number> {
  const open = () => count(order, "SELECT count(*) FROM orders WHERE status = 'placed'");
  const counted = () => count(analytics, "SELECT sum(next_offset) FROM positions");
  await Promise.all([inventory.restart(), analytics.restart()]);
  await eventually("all have followed", () => open() === 0 && counted() >= 2 * BULK, WAIT);
  const toUs = Date.now() * 1_000;
  const [first] = read<{ at: string }>(inventory, "SELECT min(processed_at) AS at FROM ledger");
  return perS(BULK, Date.parse(first!.at) * 1_000, toUs);
}

async function replayPerS(url: string): Promise<number> {
  await beginReplay(url);
  const { finished_at, started_at } = await eventually(
    "the replay ends",
    async () => {
      const replay = await fetchReplay(url);
      return replay.finished_at !== null && { ...replay, finished_at: replay.finished_at };
    },
    WAIT,
  );
  return perS(2 * BULK, Date.parse(started_at) * 1_000, Date.parse(finished_at) * 1_000);
}

function perS(n: number, fromUs: number, toUs: number): number {
  return n / ((toUs - fromUs) / 1e6);
}

function table(run: Run, samples: Record<string, Sample>): void {
  run.table({
    id: "throughput",
    title: "Rates of the streaming model",
    columns: [
      { name: "what" },
      { name: "median", unit: "1/s" },
      { name: "min", unit: "1/s" },
      { name: "max", unit: "1/s" },
    ],
    rows: Object.entries(samples).map(([what, { max, median, min }]) => [
      what,
      Math.round(median),
      Math.round(min),
      Math.round(max),
    ]),
  });
}
