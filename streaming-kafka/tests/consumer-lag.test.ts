/** Inventory slow, then hanging, while orders keep coming: how far is it behind, and does it catch up? */
import { setFaults } from "@lab/lab/services/set-faults";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { countRecords, eventsOf, kafkaClient, readTopic } from "@lab/lab/probes/kafka-tools";
import {
  describeGroup,
  type LagRow,
  type LagSampler,
  lagTable,
  sampleLag,
  totalCommitted,
  totalLag,
} from "@lab/lab/probes/lag";
import { eventually, settled } from "@lab/lab/host/waiting";
import {
  allEnded,
  type BulkOrders,
  countsOf,
  holdsClean,
  metricsOver,
  placeBulk,
  placedOf,
  startStream,
  expectedOf,
} from "./campus.ts";
import { groupsOf } from "./model.ts";

const EVENTS = 10_000;
const RATE_PER_S = 800;
/** Six partitions are processed concurrently, so this is at most 300 orders/s. */
const THROTTLE_MS = 20;
const THROTTLED_FROM = 1_600;
/**
 * Early enough that it hangs for longer than the session timeout: only heartbeats keep it in its
 * group.
 */
const PAUSED_FROM = 5_000;

experiment(
  {
    name: "consumer-lag",
    model: "streaming-kafka",
    question: "Inventory falls behind: where does one see it, and does it catch up by itself?",
    method:
      "10,000 orders at 800/s. From the 1,600th on Inventory takes 20 ms for each message, from the 5,000th on it hangs; when all orders are in the topic it is released. The lag of each partition is sampled all along, as kafka-consumer-groups counts it: log end minus committed offset.",
    disproof:
      "A lag that doesn't grow, a partition that doesn't come back to 0, offsets committed while Inventory hangs, an order without an outcome or with two, a member thrown out of its group though it lives.",
    requirements: ["C3", "D2", "D3", "D4"],
    parameters: {
      events: EVENTS,
      rate_per_s: RATE_PER_S,
      throttle_ms: THROTTLE_MS,
      throttled_from_order: THROTTLED_FROM,
      paused_from_order: PAUSED_FROM,
    },
  },
  async (run) => {
    const { brokers, campus, names } = await startStream(run);
    await using _ = campus;
    const admin = kafkaClient(brokers).admin();
    await admin.connect();
    await using _admin = { [Symbol.asyncDispose]: () => admin.disconnect() };
    const group = names.inventoryGroup;
    const look = () => describeGroup(admin, group);
    await using lag = await sampleLag(brokers, group, { zeroUs: run.zeroUs });
    const stream: BulkOrders = {
      count: EVENTS,
      seed: run.seed,
      kitchens: 24,
      fail_rate: 0.05,
      rate_per_s: RATE_PER_S,
    };

    run.progress("10,000 orders at 800/s; Inventory keeps up");
    const flow = new Phases(run);
    const bulk = await placeBulk(run, campus, stream);
    flow.note("orders come", await look());

    await placedOf(campus, bulk, THROTTLED_FROM);
    run.progress(`Inventory takes ${THROTTLE_MS} ms for each message`);
    await setFaults(campus.inventory, { throttle_ms: THROTTLE_MS });
    flow.note("throttled", await look());

    await placedOf(campus, bulk, PAUSED_FROM);
    run.progress("Inventory hangs");
    await setFaults(campus.inventory, { hang: true });
    flow.note("paused", await look());

    await placedOf(campus, bulk, EVENTS);
    await eventually(
      "all orders are in order-events",
      async () => (await countRecords(admin, names.orderEvents)) >= EVENTS,
    );
    // It makes no progress, but stays in its group by heartbeats.
    const standing = await settled("nothing moves while Inventory hangs", look);
    const members = new Set(standing.map(({ consumer_id }) => consumer_id));
    run.holds(
      "Inventory hangs, and is still the one member of its group",
      { members: members.size, nobody: members.has(null) },
      { members: 1, nobody: false },
    );

    run.progress("Inventory is released");
    const released = flow.note("released", standing);
    await setFaults(campus.inventory, {});
    const caughtUp = await eventually(
      "Inventory has caught up",
      async () => {
        const rows = await look();
        if (totalLag(rows) > 0) throw new Error(`\n${lagTable(rows)}`);
        return rows;
      },
      { timeoutMs: 120_000, everyMs: 20 },
    );
    const end = flow.note("caught up", caughtUp);
    await allEnded(campus);
    const { metrics } = await metricsOver(campus, EVENTS);
    await lag.stop();

    const lags = flow.phases.slice(1, 4).map((phase) => phase.lag);
    run.holds(
      "the lag grows from throttled to paused to released",
      lags,
      [...new Set(lags)].toSorted((a, b) => a - b),
    );
    run.holds(
      "every partition is back to 0",
      Object.fromEntries(caughtUp.map(({ lag: left, partition }) => [partition, left])),
      { 0: 0, 1: 0, 2: 0, 3: 0, 4: 0, 5: 0 },
    );
    const { stock: __, ...counts } = expectedOf([stream]);
    run.holds("the metrics are the seed's arithmetic", countsOf(metrics), counts);
    holdsClean(run, campus);
    await holdsOneOutcomeEach(run, brokers, names);

    chart(run, lag, flow);
    flow.table();
    run.excerpt({
      id: "peak",
      title: "scripts/lab lag at the peak, while Inventory hangs",
      text: lagTable(lag.peak.rows),
    });
    const groups = await Promise.all(
      groupsOf(run.namespace).map((one) => describeGroup(admin, one)),
    );
    run.excerpt({
      id: "end",
      title: "scripts/lab lag at the end, all groups",
      text: lagTable(groups.flat()),
    });

    const drainS = seconds(end.atS - released.atS);
    run.figure("events", EVENTS);
    run.figure("throttle_ms", THROTTLE_MS);
    run.figure("throttled_rate_per_s", flow.rateOf("throttled"));
    run.figure("peak_lag", lag.peak.lag);
    run.figure("drain_s", drainS);
    run.figure("drain_rate_per_s", flow.rateOf("released"));
    run.figure("final_lag", totalLag(caughtUp));
  },
);

interface Phase {
  name: string;
  atS: number;
  lag: number;
  committed: number;
}

/** When each phase of the run began, and how far Inventory was then. */
class Phases {
  readonly phases: Phase[] = [];
  readonly #run: Run;

  constructor(run: Run) {
    this.#run = run;
  }

  /** Begins a phase with the group's present committed offsets. */
  note(name: string, rows: readonly LagRow[]): Phase {
    const phase = {
      name,
      atS: this.#run.elapsedS(),
      lag: totalLag(rows),
      committed: totalCommitted(rows),
    };
    this.phases.push(phase);
    return phase;
  }

  /** Offsets committed per second of that phase. */
  rateOf(name: string): number {
    const [phase, next] = this.#around(name);
    return Math.round((next.committed - phase.committed) / (next.atS - phase.atS));
  }

  shaded(name: string): { label: string; from: number; to: number } {
    const [phase, next] = this.#around(name);
    return { label: name, from: phase.atS, to: next.atS };
  }

  table(): void {
    this.#run.table({
      id: "phases",
      title: "What Inventory got through, and how far it was behind",
      columns: [
        { name: "phase" },
        { name: "time", unit: "s" },
        { name: "records committed" },
        { name: "rate", unit: "records/s" },
        { name: "lag at its start" },
        { name: "lag at its end" },
      ],
      rows: this.phases.slice(0, -1).map((phase, at) => {
        const next = this.phases[at + 1] ?? phase;
        return [
          phase.name,
          seconds(next.atS - phase.atS),
          next.committed - phase.committed,
          this.rateOf(phase.name),
          phase.lag,
          next.lag,
        ];
      }),
      note: "What was in work when a phase began is committed in it.",
    });
  }

  #around(name: string): [Phase, Phase] {
    const at = this.phases.findIndex((phase) => phase.name === name);
    const [phase, next] = this.phases.slice(at, at + 2);
    if (phase === undefined || next === undefined) {
      throw new Error(`there was no phase ${name} with one behind it`);
    }
    return [phase, next];
  }
}

function chart(run: Run, lag: LagSampler, flow: Phases): void {
  const shaded = [flow.shaded("throttled"), flow.shaded("paused")];
  run.series({
    id: "lag",
    title: "Lag of Inventory by partition",
    x: { name: "Time", unit: "s" },
    y: { name: "Lag", unit: "records" },
    lines: lag.lines(),
    shaded,
  });
  run.series({
    id: "total-lag",
    title: "Lag of Inventory, all partitions, and what it has committed",
    x: { name: "Time", unit: "s" },
    y: { name: "Records", unit: "records" },
    lines: [
      { name: "lag", points: lag.total },
      { name: "committed", points: lag.committed },
    ],
    shaded,
  });
}

async function holdsOneOutcomeEach(
  run: Run,
  brokers: string,
  names: { orderEvents: string; inventoryEvents: string },
): Promise<void> {
  const orders = eventsOf(await readTopic(brokers, names.orderEvents));
  const outcomes = eventsOf(await readTopic(brokers, names.inventoryEvents));
  const ends = new Map<string, number>();
  for (const { subject } of outcomes.events) {
    ends.set(subject, (ends.get(subject) ?? 0) + 1);
  }
  const lost = orders.events.filter(({ subject }) => !ends.has(subject)).length;
  const doubled = [...ends.values()].filter((n) => n > 1).length;
  run.holds(
    "each of the 10,000 orders has one outcome",
    { orders: orders.events.length, lost, doubled },
    { orders: EVENTS, lost: 0, doubled: 0 },
  );
  run.figure("lost", lost);
  run.figure("doubled", doubled);
}

function seconds(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}
