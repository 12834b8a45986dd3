/** Each protection of the synchronous model taken away, in a situation that needs it: does the checker find what that breaks? */
import { count } from "@lab/lab/probes/databases";
import {
  alike,
  ASKED_TWICE,
  DECIDED,
  kill,
  killedUnderLoad,
  type MutantSituation,
  SCARCE,
  sendSome,
  setFaults,
  ORDER_COUNT,
  testMutants,
} from "@lab/proof/kills/mutants";
import { freePorts } from "@lab/lab/host/ports";
import { eventually } from "@lab/lab/host/waiting";
import { standBefore } from "../front.ts";

const LATE_INVENTORY: MutantSituation = {
  title: "Inventory reserves after Order has given up",
  env: { INVENTORY_TIMEOUT_MS: "300" },
  happen: alike(async (subject) => {
    const { inventory, order } = subject.trial.campus;
    await setFaults(subject, inventory, { hang: true });
    await sendSome(subject);
    await eventually(
      "no release is owed",
      () => count(order, "SELECT count(*) FROM releases") === 0,
    );
    await setFaults(subject, inventory, {});
  }),
  mutants: [
    { without: "release", breaks: { leaked: ORDER_COUNT } },
    { without: "tombstone", breaks: { leaked: ORDER_COUNT } },
  ],
};

const LATE_NOTIFICATION: MutantSituation = {
  title: "Notification sends after Order has stopped waiting",
  env: { NOTIFICATION_TIMEOUT_MS: "300" },
  happen: alike(async (subject) => {
    const { downstream: notification } = subject.trial.campus;
    await setFaults(subject, notification, { hang: true });
    await sendSome(subject);
    await setFaults(subject, notification, {});
  }),
  mutants: [{ without: "idempotent-send", breaks: { doubled: ORDER_COUNT } }],
};

const REPAIRED_MEANWHILE: MutantSituation = {
  title: "Inventory's first answer to each order gets lost, and the repair comes by",
  // It comes by, and is done, within the time that the requests wait.
  env: { RETRY_EVERY_MS: "400", INVENTORY_TIMEOUT_MS: "2500" },
  async between() {
    const [port] = (await freePorts(1)) as [number];
    const front = standBefore(port);
    const asked = new Set<string>();
    front.refuse = ({ order_id }, path) => {
      if (path !== "/reserve" || asked.has(order_id)) return undefined;
      asked.add(order_id);
      return "no answer";
    };
    return {
      env: { INVENTORY_URL: front.url },
      ports: { "inventory-service": port },
      [Symbol.asyncDispose]: () => front[Symbol.asyncDispose](),
    };
  },
  happen: alike(async (subject) => void (await sendSome(subject))),
  mutants: [
    { without: "in-flight", breaks: { contradicted: ORDER_COUNT } },
    { without: "forward-only", breaks: {}, heldBy: "in-flight" },
    {
      without: "in-flight,forward-only",
      breaks: { contradicted: ORDER_COUNT, resurrected: ORDER_COUNT },
    },
  ],
};

const KILLED_BEFORE_RESERVE: MutantSituation = {
  title: "Order is killed while it waits for Inventory",
  env: { INVENTORY_TIMEOUT_MS: "30000" },
  happen: alike(async (subject) => {
    const { inventory, order } = subject.trial.campus;
    await setFaults(subject, inventory, { hang: true });
    const outcomes = sendSome(subject);
    await eventually("all are stored", () => count(order, ORDERS) === ORDER_COUNT);
    await kill(subject, order);
    await outcomes;
    await setFaults(subject, inventory, {});
    await order.restart();
  }),
  mutants: [{ without: "recovery", breaks: { stuck: ORDER_COUNT } }],
};

const KILLED_AFTER_RESERVE: MutantSituation = {
  title: "Order is killed while it waits for Notification",
  env: { NOTIFICATION_TIMEOUT_MS: "30000" },
  happen: alike(async (subject) => {
    const { inventory, order, downstream: notification } = subject.trial.campus;
    await setFaults(subject, notification, { hang: true });
    const outcomes = sendSome(subject);
    await eventually("all are decided", () => count(inventory, DECIDED) === ORDER_COUNT);
    await kill(subject, order);
    await outcomes;
    await setFaults(subject, notification, {});
    await order.restart();
  }),
  mutants: [{ without: "idempotent-reserve", breaks: { unbalanced: ORDER_COUNT } }],
};

const ORDERS = "SELECT count(*) FROM orders";

testMutants({
  model: "sync-rest",
  stuckMs: 3_000,
  lanes: [
    [LATE_INVENTORY, ASKED_TWICE, LATE_NOTIFICATION, SCARCE, REPAIRED_MEANWHILE],
    [
      KILLED_BEFORE_RESERVE,
      KILLED_AFTER_RESERVE,
      killedUnderLoad("Order", { lost: "any", leaked: "any", contradicted: "any" }),
      killedUnderLoad("Inventory", { contradicted: "any" }),
      killedUnderLoad("Notification", { contradicted: "any" }),
    ],
  ],
});
