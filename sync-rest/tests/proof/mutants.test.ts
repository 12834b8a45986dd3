/** Each protection of the synchronous model taken away, in a situation that needs it: does the checker find what that breaks? */
import { count } from "@lab/lab/databases";
import {
  alike,
  ASKED_TWICE,
  DECIDED,
  kill,
  killedUnderLoad,
  sendSome,
  setFaults,
  type Situation,
  SOME,
  testMutants,
} from "@lab/lab/proof/mutants";
import { eventually } from "@lab/lab/waiting";

const LATE_INVENTORY: Situation = {
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
    { without: "release", breaks: ["leaked"] },
    { without: "tombstone", breaks: ["leaked"] },
  ],
};

const LATE_NOTIFICATION: Situation = {
  title: "Notification sends after Order has stopped waiting",
  env: { NOTIFICATION_TIMEOUT_MS: "300" },
  happen: alike(async (subject) => {
    const { third: notification } = subject.trial.campus;
    await setFaults(subject, notification, { hang: true });
    await sendSome(subject);
    await setFaults(subject, notification, {});
  }),
  mutants: [{ without: "idempotent-send", breaks: ["doubled"] }],
};

const KILLED_BEFORE_RESERVE: Situation = {
  title: "Order is killed while it waits for Inventory",
  env: { INVENTORY_TIMEOUT_MS: "30000" },
  happen: alike(async (subject) => {
    const { inventory, order } = subject.trial.campus;
    await setFaults(subject, inventory, { hang: true });
    const outcomes = sendSome(subject);
    await eventually("all are stored", () => count(order, ORDERS) === SOME);
    await kill(subject, order);
    await outcomes;
    await setFaults(subject, inventory, {});
    await order.restart();
  }),
  mutants: [{ without: "recovery", breaks: ["stuck"] }],
};

const KILLED_AFTER_RESERVE: Situation = {
  title: "Order is killed while it waits for Notification",
  env: { NOTIFICATION_TIMEOUT_MS: "30000" },
  happen: alike(async (subject) => {
    const { inventory, order, third: notification } = subject.trial.campus;
    await setFaults(subject, notification, { hang: true });
    const outcomes = sendSome(subject);
    await eventually("all are decided", () => count(inventory, DECIDED) === SOME);
    await kill(subject, order);
    await outcomes;
    await setFaults(subject, notification, {});
    await order.restart();
  }),
  mutants: [{ without: "idempotent-reserve", breaks: ["unbalanced"] }],
};

const ORDERS = "SELECT count(*) FROM orders";

testMutants({
  model: "sync-rest",
  timeoutS: 120,
  lanes: [
    [LATE_INVENTORY, ASKED_TWICE, LATE_NOTIFICATION],
    [
      KILLED_BEFORE_RESERVE,
      KILLED_AFTER_RESERVE,
      killedUnderLoad(["lost", "leaked", "contradicted"]),
    ],
  ],
});
