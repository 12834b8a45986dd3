/** The order service started as the image starts it, in an environment with a dead proxy and a low limit on concurrent requests. */
import { experiment } from "@lab/lab/experiment/experiment";
import { answersTable, judge } from "@lab/proof/common";
import { flood } from "@lab/proof/input/overload";
import { setFaults } from "@lab/lab/services/set-faults";
import { trialOf } from "@lab/lab/experiment/trial";

const ORDERS = 600;
const TIMEOUT_MS = 5_000;
/** Two of these one after the other are longer than the timeout. */
const SLOW_MS = 2_600;
/** A call that first waits for another's timeout takes two timeouts. */
const MOST_MS = 2 * TIMEOUT_MS - 1;

/** Would send calls to a dead proxy, and only 16 at once. */
const SHELL = { HTTP_PROXY: "http://127.0.0.1:9", BUN_CONFIG_MAX_HTTP_REQUESTS: "16" };

experiment(
  {
    name: "as-shipped",
    model: "sync-rest",
    question: "Started as the image starts it: is every call sent, and timed from its sending?",
    method: `${ORDERS} orders at once with Inventory ${SLOW_MS} ms slow, and again with Inventory hanging; Order waits ${TIMEOUT_MS} ms for it. The environment names a proxy where nobody listens, and lets Bun's fetch send 16 requests at once, by itself 256.`,
    disproof:
      "An order that fails though Inventory answers in time. With Inventory hanging, an answer other than 504, or one that has waited for others' calls.",
    requirements: [],
    parameters: { orders: ORDERS, delay_ms: SLOW_MS, inventory_timeout_ms: TIMEOUT_MS },
  },
  async (run) => {
    const env = { ...SHELL, INVENTORY_TIMEOUT_MS: String(TIMEOUT_MS) };
    await using trial = await trialOf(run, "as-shipped", { env });
    const { inventory, order } = trial.campus;
    const floodOnce = async () => {
      const { operations } = await flood(run, order, 100 * ORDERS, 0.01);
      run.history.operations.push(...operations);
      return operations;
    };

    run.progress("Inventory is slow");
    await setFaults(inventory, { delay_ms: SLOW_MS });
    const slow = await floodOnce();
    const wrong = slow.filter(({ code, outcome }) => outcome !== "ok" && code !== "unknown_item");
    run.holds("all are answered, and well", [slow.length, wrong], [ORDERS, []]);

    run.progress("Inventory hangs");
    await setFaults(inventory, { hang: true });
    const hung = await floodOnce();
    await setFaults(inventory, {});
    run.holds(
      "every answer is 504",
      [hung.length, hung.filter(({ code }) => code !== "inventory_timeout")],
      [ORDERS, []],
    );
    const longestMs = Math.max(
      ...hung.map(({ ended_us, started_us }) => (ended_us - started_us) / 1_000),
    );
    run.figure("longest_504_ms", Math.round(longestMs));
    run.holds("nobody waits for two timeouts", longestMs <= MOST_MS, true);

    await judge(run, trial, { kills: 0, faults: 2 });
    answersTable(run, trial);
  },
);
