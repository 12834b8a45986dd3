import { count, OUTBOX_DEPTH } from "@lab/lab/probes/databases";
import type { Broker, BrokerName } from "@lab/lab/brokers/broker";
import type { Model } from "@lab/evidence/evidence";
import { experiment } from "@lab/lab/experiment/experiment";
import { fetchHealth, owedOf } from "@lab/lab/services/health";
import { setFaults } from "@lab/lab/services/set-faults";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { eventually } from "@lab/lab/host/waiting";
import { answersTable, judge } from "../common.ts";

/** Between the event of a usual order and that of the large one. */
const MOST_BYTES = 1_500;
const ORDERS = 15;

interface Plan {
  model: Model;
  broker: BrokerName;
  /** Sets the largest message that the broker accepts; without `bytes` its default. Open channels may keep the old limit. */
  limit: (broker: Broker, trial: Trial, bytes?: number) => Promise<void>;
}

/** One event that the broker takes from nobody, before many others. */
export function testRefusedEvent({ broker: name, limit, model }: Plan): void {
  experiment(
    {
      name: "one-refused",
      model,
      question: "One event is too large for the broker: are the others published all the same?",
      method: `The broker takes no message over ${MOST_BYTES} bytes. A larger order is placed and, with it, ${ORDERS} usual ones, all in one transaction; then the limit is lifted.`,
      disproof:
        "Another event than that one which isn't published, a health that doesn't count that one, an order without an end once the limit is lifted.",
      requirements: [],
      parameters: { orders: ORDERS, most_bytes: MOST_BYTES },
    },
    async (run) => {
      await using broker = await run.ownBroker(name);
      await using trial = await trialOf(run, "one-refused", { broker });
      const { order } = trial.campus;
      await limit(broker, trial, MOST_BYTES);
      try {
        await order.restart();
        // Not `healthy`: with Kafka the service reports the lowered limit as a problem.
        await eventually(
          `${order.name} has its broker`,
          async () => (await fetchHealth(order.url)).broker === true,
        );
        run.progress("a large event, and others");
        // They wait, and are stored together.
        await setFaults(order, { delay_ms: 500 });
        const large = trial.place(LARGE);
        const others = Array.from({ length: ORDERS }, () => trial.send());
        const answers = await Promise.all([large, ...others]);
        await setFaults(order, {});
        run.holds(
          "all are accepted",
          answers.filter(({ kind }) => kind !== "ok"),
          [],
        );
        const open = () => count(order, "SELECT count(*) FROM orders WHERE status = 'placed'");
        await eventually("one order is open", () => open() === 1);
        run.holds(
          "one event waits, and health counts it",
          [count(order, OUTBOX_DEPTH), await owedOf("outbox", order.url)],
          [1, 1],
        );
      } finally {
        await limit(broker, trial);
      }
      run.progress("the limit is lifted");
      // It would be tried again by itself, some time later.
      await order.restart();
      await eventually("no service names the limit any more", async () => {
        const healths = await Promise.all(trial.campus.services.map(({ url }) => fetchHealth(url)));
        return healths.every(({ problems }) => problems.length === 0);
      });
      await judge(run, trial, { kills: 0, faults: 1 });
      answersTable(run, trial);
    },
  );
}

/** In a kitchen of its own: it is published after later orders, which would break its kitchen's order. */
const LARGE = {
  user_id: "u1",
  kitchen: "elsewhere",
  items: Array.from({ length: 20 }, (_, n) => ({ sku: `${n}-${"x".repeat(50)}`, qty: 1 })),
};
