import { STOP_GRACE_MS } from "@lab/runtime/limits";
import type { Broker, BrokerName } from "@lab/lab/brokers/broker";
import type { Model } from "@lab/evidence/evidence";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { QUEUE_SETTLES_S } from "@lab/lab/brokers/rabbitmq";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { eventually, nowUs, outage } from "@lab/lab/host/waiting";
import { count, OUTBOX_DEPTH } from "@lab/lab/probes/databases";
import { answerOf } from "@lab/lab/load/history";
import { answersTable, judge, keepOrdering, type Ordering, RATE_PER_S, timed } from "../common.ts";

const DEAD_S = 3;
/** Longer than two of amqplib's heartbeats, than Kafka's sessions and than its clients' timeouts. */
const PAUSED_S = 20;
/** What may be said to an order; where the services stop, also what nobody said. */
const CLEAR = ["ok 202"];
const CLEAR_WITHOUT = [...CLEAR, "failed connection_refused", "unknown connection_reset"];

interface BrokerFault {
  name: string;
  strike(): Promise<void>;
  /** What happens while it lasts, where the services don't stop. */
  meanwhile?(orders: Ordering): Promise<void>;
  lift(): Promise<void>;
  /** Whether it is the broker's SIGKILL. */
  kills?: boolean;
  /** So many orders are answered, then every service stops; the order service answers nothing then. */
  stopsAfter?: number;
}

interface BrokerFaultsPlan {
  model: Model;
  broker: BrokerName;
  /** The faults that this broker alone has. */
  own?: (broker: Broker, trial: Trial) => BrokerFault[];
  /** For the method: what those are. */
  ownMethod?: string;
}

/** The broker dies, hangs and worse under load; and the services stop while it hangs. */
export function testBrokerFaults({ model, broker: name, own, ownMethod }: BrokerFaultsPlan): void {
  experiment(
    {
      name: "broker-faults",
      model,
      question: "The broker dies, hangs or takes nothing any more, under load: is anything lost?",
      method: `${RATE_PER_S} orders/s all along. SIGKILL of the broker and a start on its data after ${DEAD_S} s; SIGSTOP for ${PAUSED_S} s; SIGSTOP, and a stop of every service while confirms are outstanding${ownMethod ?? ""}. Nobody touches the services otherwise.`,
      disproof:
        "An answer other than 202, or none while the order service runs, an outbox that doesn't grow meanwhile (then nothing was struck), an order lost or doubled, a service that ends by itself, doesn't stop within its grace or doesn't come back.",
      requirements: [],
      parameters: { rate_per_s: RATE_PER_S, dead_s: DEAD_S, paused_s: PAUSED_S },
    },
    async (run) => {
      await using broker = await run.ownBroker(name);
      await using trial = await trialOf(run, "faults", { broker });
      const orders = keepOrdering(trial, RATE_PER_S);
      await orders.more(QUEUE_SETTLES_S * RATE_PER_S);
      const faults = [...commonFaults(broker, trial), ...(own?.(broker, trial) ?? [])];
      const rows: Row[] = [];
      for (const fault of faults) {
        run.progress(fault.name);
        rows.push(await strikeOnce(fault, trial, orders));
      }
      await orders.stop();
      await judge(run, trial, {
        kills: faults.filter(({ kills }) => kills).length,
        faults: faults.filter(({ kills }) => !kills).length,
      });
      table(run, rows);
      answersTable(run, trial);
      run.holds(
        "every order was answered 202, or by nobody while the services were stopped",
        rows.filter(({ unclear }) => unclear.length > 0),
        [],
      );
      run.holds(
        "at least half of what was ordered meanwhile waited in the outbox",
        rows.filter(({ ordered, outboxAtEnd }) => outboxAtEnd < ordered / 2),
        [],
      );
    },
  );
}

/** Stops every service at once; the fault's `lift` starts them again. Throws when one doesn't end with 0 within its grace. */
async function stopAll({ campus }: Trial): Promise<void> {
  const stops = await Promise.all(campus.services.map((service) => timed(() => service.stop())));
  const bad = stops.flatMap(({ tookMs, value }, n) =>
    value === 0 && tookMs < STOP_GRACE_MS
      ? []
      : [`${campus.services[n]?.name}: exit code ${value} after ${tookMs} ms`],
  );
  if (bad.length > 0) throw new Error(bad.join(", "));
}

function commonFaults(broker: Broker, trial: Trial): BrokerFault[] {
  return [
    {
      name: "SIGKILL, and a new start",
      kills: true,
      strike: () => broker.kill(),
      meanwhile: () => outage(DEAD_S),
      lift: () => broker.start(),
    },
    {
      name: "SIGSTOP",
      strike: () => broker.pause(),
      meanwhile: () => outage(PAUSED_S),
      lift: () => broker.resume(),
    },
    {
      name: "SIGSTOP, and every service stops",
      // Sent, and not confirmed.
      stopsAfter: 20,
      strike: () => broker.pause(),
      async lift() {
        await broker.resume();
        await Promise.all(trial.campus.services.map((service) => service.restart()));
      },
    },
  ];
}

interface Row {
  fault: string;
  lastedS: number;
  accepted: number;
  /** Answers other than 202. */
  other: number;
  /** Of these what nobody may be told. */
  unclear: string[];
  /** While it lasted: by the rate, or before the services were stopped. */
  ordered: number;
  outboxAtEnd: number;
  recoveredS: number;
}

async function strikeOnce(fault: BrokerFault, trial: Trial, orders: Ordering): Promise<Row> {
  await orders.more(20);
  const from = trial.operations.length;
  await fault.strike();
  const { tookMs } = await timed(async () => {
    try {
      if (fault.stopsAfter === undefined) await fault.meanwhile?.(orders);
      else {
        await orders.more(fault.stopsAfter);
        await stopAll(trial);
      }
    } catch (error) {
      // The clean-up needs a broker that answers.
      await fault.lift().catch(() => {});
      throw error;
    }
  });
  const waiting = () => count(trial.campus.order, OUTBOX_DEPTH);
  const outboxAtEnd = waiting();
  const liftedUs = nowUs();
  await fault.lift();
  await Promise.all(trial.campus.services.map((service) => service.healthy()));
  // New orders keep coming: what came in the last half second may wait.
  await eventually("the outbox is drained", () => waiting() < RATE_PER_S / 2, { everyMs: 30 });
  const seen = trial.operations.slice(from).map(answerOf);
  const clear = fault.stopsAfter === undefined ? CLEAR : CLEAR_WITHOUT;
  return {
    fault: fault.name,
    lastedS: tookMs / 1_000,
    accepted: seen.filter((answer) => answer === "ok 202").length,
    other: seen.filter((answer) => answer !== "ok 202").length,
    unclear: seen.filter((answer) => !clear.includes(answer)),
    ordered: fault.stopsAfter ?? Math.round((RATE_PER_S * tookMs) / 1_000),
    outboxAtEnd,
    recoveredS: Math.round((nowUs() - liftedUs) / 1_000) / 1_000,
  };
}

function table(run: Run, rows: Row[]): void {
  run.table({
    id: "faults",
    title: "The broker's faults",
    columns: [
      { name: "fault" },
      { name: "lasted", unit: "s" },
      { name: "orders answered 202" },
      { name: "other answers" },
      { name: "ordered while it lasted" },
      { name: "events in the outbox at its end" },
      { name: "until the outbox is drained", unit: "s" },
    ],
    rows: rows.map((row) => [
      row.fault,
      row.lastedS,
      row.accepted,
      row.other,
      row.ordered,
      row.outboxAtEnd,
      row.recoveredS,
    ]),
  });
}
