/** Inventory dead for a minute: the customers get their receipts, the queue keeps the orders. */
import { count } from "@lab/lab/probes/databases";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { LATENCY_COLUMNS, latencies, latencyRow, openLoop } from "@lab/lab/load/load";
import { byLength, outageS } from "@lab/evidence/settings";
import { eventually, nowUs, outage, sample } from "@lab/lab/host/waiting";
import {
  acceptedBetween,
  completionsMs,
  deadCounts,
  FAIL_RATE,
  holdsClean,
  holdsOutcomes,
  type Lab,
  median,
  NO_DEAD_LETTERS,
  nothingOpen,
  rounded,
  secondsOf,
  sendOrder,
  shootQueue,
  startLab,
  verdictTable,
} from "./campus.ts";

const RATE_PER_S = 50;
const BEFORE_S = byLength({ short: 4, full: 10 });
const AFTER_S = byLength({ short: 4, full: 10 });
const OUTAGE_S = outageS();
/** The end of the outage, in which a picture is taken: the answers' times don't count then. */
const PICTURE_S = OUTAGE_S / 4;
const MOST_PICTURE_S = 120;

experiment(
  {
    name: "backlog-drain",
    model: "async-rabbitmq",
    question: "Inventory is dead for a minute: what becomes of the orders?",
    method: `50 orders/s all along; SIGKILL of Inventory, ${OUTAGE_S} s later its restart. The queue's depth is sampled from the broker.`,
    disproof:
      "An answer other than 202, a queue that doesn't grow or doesn't drain, an accepted order without its one end, stock that is a unit off.",
    requirements: ["B1", "B2", "B3", "B4", "D4"],
    parameters: {
      rate_per_s: RATE_PER_S,
      before_s: BEFORE_S,
      outage_s: OUTAGE_S,
      after_s: AFTER_S,
      fail_rate: FAIL_RATE,
    },
    timeoutS: 300 + OUTAGE_S,
  },
  async (run) => {
    const broker = await run.broker("rabbitmq");
    await using lab = await startLab(run, broker);
    const { campus, names, rabbit } = lab;
    const load = (durationS: number, signal?: AbortSignal) =>
      openLoop({
        ratePerS: RATE_PER_S,
        durationS,
        ...(signal && { signal }),
        send: sendOrder(run, lab, run.history.operations.length),
      });
    // Queried now, to make sure that the queue exists.
    await rabbit.ready(names.inventoryQueue);
    await using depth = sample(() => depthOf(lab), { everyMs: 100, zeroUs: run.zeroUs });

    run.progress(`${RATE_PER_S} orders/s with Inventory alive`);
    const before = await load(BEFORE_S);
    run.progress(`SIGKILL of Inventory, for ${OUTAGE_S} s`);
    const killedUs = nowUs();
    await campus.inventory.kill();
    const during = await load(OUTAGE_S - PICTURE_S);
    // The orders go on until the picture is taken, however long that takes.
    const pictured = new AbortController();
    const [meanwhile] = await Promise.all([
      load(MOST_PICTURE_S, pictured.signal),
      Promise.all([
        outage(PICTURE_S),
        shootQueue(run, broker, "backlog-drain-rabbitmq", names.inventoryQueue, "queue"),
      ]).finally(() => pictured.abort()),
    ]);
    const waiting = during.outcomes.ok + meanwhile.outcomes.ok;
    await eventually(
      "all of them wait in the queue",
      async () => (await rabbit.ready(names.inventoryQueue)) >= waiting,
    );

    run.progress(`restart; ${waiting} orders wait in the queue`);
    const afterwards = load(AFTER_S);
    const [drained, after] = await Promise.all([drain(run, lab), afterwards]);
    await nothingOpen(lab);
    await depth.stop();
    const line = (messages: (sampled: Awaited<ReturnType<typeof depthOf>>) => number) =>
      depth.points.map(([atS, sampled]): [number, number] => [atS, messages(sampled)]);
    const ready = line((sampled) => sampled.ready);
    const peakDepth = Math.max(...ready.map(([, messages]) => messages));

    run.holds(
      "every answer is 202",
      [before, during, meanwhile, after].map(({ answers }) => answers),
      [
        BEFORE_S * RATE_PER_S,
        Math.round((OUTAGE_S - PICTURE_S) * RATE_PER_S),
        meanwhile.count,
        AFTER_S * RATE_PER_S,
      ].map((n) => ({ "ok 202": n })),
    );
    const outageS = (drained.readyUs - killedUs) / 1_000_000;
    const acceptedDead = acceptedBetween(run, killedUs, drained.readyUs);
    const verdict = holdsClean(run, lab);
    run.holds("no dead letters", await deadCounts(lab), NO_DEAD_LETTERS);
    const accepted = verdict.acknowledged;
    holdsOutcomes(run, verdict);

    run.series({
      id: "queue-depth",
      title: "Messages in inventory.order-placed",
      x: { name: "time", unit: "s" },
      y: { name: "messages", unit: "messages" },
      lines: [
        { name: "ready", points: ready },
        {
          name: "ready and unacknowledged",
          points: line((sampled) => sampled.ready + sampled.unacknowledged),
        },
      ],
      shaded: [
        {
          label: "Inventory dead",
          from: secondsOf(run, killedUs),
          to: secondsOf(run, drained.readyUs),
        },
      ],
    });
    run.table({
      id: "latency",
      title: "Latency of POST /order (202)",
      columns: LATENCY_COLUMNS,
      rows: [
        latencyRow("Inventory alive", before),
        latencyRow("Inventory dead", during),
        latencyRow("while it drains, and after", after),
      ],
    });
    verdictTable(run, verdict);
    run.table({
      id: "drain",
      title: "The backlog",
      columns: [
        { name: "peak depth" },
        { name: "drained in", unit: "s" },
        { name: "consumed meanwhile" },
        { name: "rate", unit: "messages/s" },
      ],
      rows: [
        [
          peakDepth,
          rounded(drained.drainS, 3),
          drained.consumed,
          rounded(drained.consumed / drained.drainS, 0),
        ],
      ],
      note: "From Inventory's ready line until all that was accepted before it was reserved and no message was ready. Consumed: rows in Inventory's ledger.",
    });

    const completions = completionsMs(lab);
    const undisturbed = run.history.operations
      .slice(0, before.count - RATE_PER_S)
      .map(({ order_id: id }) => completions.get(id ?? "") ?? 0);
    run.figure("outage_s", rounded(outageS, 1));
    run.figure("offered_rate_per_s", RATE_PER_S);
    run.figure("accepted", accepted);
    run.figure("refused", verdict.attempted - accepted);
    run.figure("accepted_during_outage", acceptedDead);
    run.figure("answer_before_p50_ms", latencies(before).p50_ms);
    run.figure("answer_p50_ms", latencies(during).p50_ms);
    run.figure("answer_p99_ms", latencies(during).p99_ms);
    run.figure("peak_depth", peakDepth);
    run.figure("drain_s", rounded(drained.drainS, 3));
    run.figure("drain_rate_per_s", rounded(drained.consumed / drained.drainS, 0));
    run.figure("completion_p50_ms", median(undisturbed));
    run.figure("longest_completion_s", rounded(Math.max(...completions.values()) / 1_000, 3));
    run.figure("confirmed", verdict.confirmed);
    run.figure("failed", verdict.failed);
    run.figure("lost", verdict.lost.length);
    run.figure("doubled", verdict.doubled.length);
    run.figure("stock_difference_units", verdict.stock_difference_units);
  },
);

const LEDGER_ROWS = "SELECT count(*) AS n FROM ledger";

/** Starts Inventory again and waits until the backlog is gone, though new orders keep coming. */
async function drain(run: Run, { campus, names, rabbit }: Lab) {
  const ledgerBefore = count(campus.inventory, LEDGER_ROWS);
  await campus.inventory.restart();
  const readyUs = nowUs();
  // Ids sort by time.
  const backlog = run.history.operations
    .map(({ order_id: id }) => id ?? "")
    .reduce((last, id) => (id > last ? id : last), "");
  const accepted = run.history.operations.length;
  const consumed = await eventually(
    "the backlog is drained",
    async () => {
      if ((await rabbit.ready(names.inventoryQueue)) > 0) return false;
      const decided = count(
        campus.inventory,
        "SELECT count(*) AS n FROM reservations WHERE order_id <= ?",
        backlog,
      );
      if (decided < accepted) return false;
      return count(campus.inventory, LEDGER_ROWS) - ledgerBefore;
    },
    { everyMs: 10, timeoutMs: 240_000 },
  );
  return { readyUs, consumed, drainS: (nowUs() - readyUs) / 1_000_000 };
}

/**
 * The present number of ready messages, and of unacknowledged ones as the management API last
 * reported it; 0 where there is no figure.
 */
async function depthOf({ names, rabbit }: Lab) {
  const [ready, unacknowledged] = await Promise.all([
    rabbit.ready(names.inventoryQueue),
    rabbit.unacknowledged(names.inventoryQueue).catch(() => 0),
  ]);
  return { ready, unacknowledged };
}
