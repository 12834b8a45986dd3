/**
 * The broker itself dies: the outbox keeps what can't be published, and no service has to be
 * restarted.
 */
import { count, OUTBOX_DEPTH } from "@lab/lab/probes/databases";
import { experiment } from "@lab/lab/experiment/experiment";
import { LATENCY_COLUMNS, latencies, latencyRow, openLoop } from "@lab/lab/load/load";
import { eventually, nowUs, outage, sample } from "@lab/lab/host/waiting";
import {
  acceptedBetween,
  deadCounts,
  FAIL_RATE,
  holdsClean,
  holdsOutcomes,
  NO_DEAD_LETTERS,
  nothingOpen,
  rounded,
  secondsOf,
  sendOrder,
  startLab,
  verdictTable,
  waitingCounts,
} from "./campus.ts";

const RATE_PER_S = 100;
const BEFORE_S = 5;
const DOWN_S = 8;
const AFTER_S = 12;

experiment(
  {
    name: "broker-down",
    model: "async-rabbitmq",
    question: "RabbitMQ dies under load: what becomes of the orders?",
    method: `${RATE_PER_S} orders/s all along; SIGKILL of RabbitMQ, and a start on the same data. Nobody touches the services.`,
    disproof:
      "An answer other than 202, an order that is lost or has an effect twice, a service that has to be started again.",
    requirements: ["B1", "D4"],
    parameters: {
      rate_per_s: RATE_PER_S,
      before_s: BEFORE_S,
      down_s: DOWN_S,
      after_s: AFTER_S,
      fail_rate: FAIL_RATE,
    },
  },
  async (run) => {
    await using broker = await run.ownBroker("rabbitmq");
    await using lab = await startLab(run, broker);
    const { campus, names, rabbit } = lab;
    const pids = () => campus.services.map(({ pid }) => pid);
    const started = pids();
    const load = (durationS: number) =>
      openLoop({
        ratePerS: RATE_PER_S,
        durationS,
        send: sendOrder(run, lab, run.history.operations.length),
      });
    await using outbox = sample(() => count(campus.order, OUTBOX_DEPTH), {
      zeroUs: run.zeroUs,
    });
    await using queue = sample(() => rabbit.ready(names.inventoryQueue), {
      zeroUs: run.zeroUs,
    });

    run.progress(`${RATE_PER_S} orders/s with RabbitMQ alive`);
    const before = await load(BEFORE_S);
    run.progress("SIGKILL of RabbitMQ");
    const underFire = load(DOWN_S);
    const killedUs = nowUs();
    await broker.kill();
    const [during] = await Promise.all([underFire, outage(DOWN_S)]);

    run.progress(`start; ${count(campus.order, OUTBOX_DEPTH)} events wait`);
    const afterwards = load(AFTER_S);
    await broker.start();
    const answersUs = nowUs();
    const since = () => rounded((nowUs() - answersUs) / 1_000_000, 3);
    await Promise.all(campus.services.map((service) => service.healthy()));
    const reconnectS = since();
    // At one moment at least, though new orders keep coming.
    await eventually(
      "outbox and queues are empty",
      async () => Object.values(await waitingCounts(lab)).every((n) => n === 0),
      { everyMs: 5 },
    );
    const drainS = since();
    run.progress(`reconnected after ${reconnectS} s, drained after ${drainS} s`);
    const after = await afterwards;
    await nothingOpen(lab);
    await Promise.all([outbox.stop(), queue.stop()]);

    run.holds(
      "every answer is 202",
      [before, during, after].map(({ answers }) => answers),
      [BEFORE_S, DOWN_S, AFTER_S].map((s) => ({ "ok 202": s * RATE_PER_S })),
    );
    run.holds("nobody was started again", pids(), started);
    const verdict = holdsClean(run, lab);
    holdsOutcomes(run, verdict);
    const peakOutbox = Math.max(...outbox.points.map(([, depth]) => depth));
    // Orders placed in the last sampling interval of the outage needn't have been sampled.
    run.holds(
      "the outbox kept what couldn't be published",
      peakOutbox >= (DOWN_S - 1) * RATE_PER_S,
      true,
    );
    run.holds("no dead letters", await deadCounts(lab), NO_DEAD_LETTERS);

    run.series({
      id: "outbox-depth",
      title: "Events in the outbox, messages in inventory.order-placed",
      x: { name: "time", unit: "s" },
      y: { name: "waiting", unit: "messages" },
      lines: [
        { name: "outbox", points: outbox.points },
        { name: "inventory.order-placed", points: queue.points },
      ],
      shaded: [
        {
          label: "RabbitMQ dead",
          from: secondsOf(run, killedUs),
          to: secondsOf(run, answersUs),
        },
      ],
    });
    run.table({
      id: "latency",
      title: "Latency of POST /order (202)",
      columns: LATENCY_COLUMNS,
      rows: [
        latencyRow("RabbitMQ alive", before),
        latencyRow("RabbitMQ dead", during),
        latencyRow("while it starts, and after", after),
      ],
    });
    verdictTable(run, verdict);
    run.figure("outage_s", rounded((answersUs - killedUs) / 1_000_000, 1));
    run.figure("accepted", verdict.acknowledged);
    run.figure("refused", verdict.attempted - verdict.acknowledged);
    run.figure("accepted_during_outage", acceptedBetween(run, killedUs, answersUs));
    run.figure("answer_before_p50_ms", latencies(before).p50_ms);
    run.figure("answer_p50_ms", latencies(during).p50_ms);
    run.figure("answer_p99_ms", latencies(during).p99_ms);
    run.figure("peak_outbox", peakOutbox);
    run.figure("reconnect_s", reconnectS);
    run.figure("drain_s", drainS);
    run.figure("lost", verdict.lost.length);
    run.figure("doubled", verdict.doubled.length);
  },
);
