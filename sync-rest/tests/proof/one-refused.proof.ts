/** A neighbour that never does what one order wants of it: who else has to wait for that? */
import { count, read } from "@lab/lab/probes/databases";
import { experiment } from "@lab/lab/experiment/experiment";
import { fetchHealth } from "@lab/lab/services/health";
import { freePorts } from "@lab/lab/host/ports";
import { answersTable, judge } from "@lab/proof/common";
import { setFaults } from "@lab/lab/services/set-faults";
import { trialOf } from "@lab/lab/experiment/trial";
import { eventually } from "@lab/lab/host/waiting";
import { standBefore } from "../front.ts";

/** More than one page of a repair. */
const ORDERS = 120;
const TIMEOUT_MS = 1_000;

experiment(
  {
    name: "one-refused",
    model: "sync-rest",
    question: "What one order owes is refused for ever: is what the others owe done all the same?",
    method: `A small server stands before Inventory and Notification, and hands everything on but what it is told to refuse. ${ORDERS} orders time out with Inventory hanging: their releases are owed, and the oldest is answered 500. ${ORDERS} orders with Notification refusing all: their confirmations are owed, and then the oldest alone is refused. ${ORDERS} orders that the order service, killed, left half-way: the oldest gets no answer any more. At the end nothing is refused.`,
    disproof:
      "Anything owed but that one piece of work, for longer than its neighbour refuses or is silent; a health that doesn't count it.",
    requirements: [],
    parameters: { orders: ORDERS, inventory_timeout_ms: TIMEOUT_MS },
  },
  async (run) => {
    const [inventoryPort, notificationPort] = (await freePorts(2)) as [number, number];
    await using inventoryFront = standBefore(inventoryPort);
    await using notificationFront = standBefore(notificationPort);
    await using trial = await trialOf(run, "one-refused", {
      ports: { "inventory-service": inventoryPort, "notification-service": notificationPort },
      env: {
        INVENTORY_URL: inventoryFront.url,
        NOTIFICATION_URL: notificationFront.url,
        INVENTORY_TIMEOUT_MS: String(TIMEOUT_MS),
      },
    });
    const { inventory, order } = trial.campus;
    const sendAll = () => Promise.all(Array.from({ length: ORDERS }, () => trial.send()));
    const oldest = (status: string) =>
      read<{ order_id: string }>(
        order,
        "SELECT min(order_id) AS order_id FROM orders WHERE status = ?",
        status,
      )[0]!.order_id;
    /** Waits until that much is owed; gives what is owed of each kind. */
    const untilOwed = (kind: string, left: number) =>
      eventually(`${left} ${kind} are owed`, async () => {
        const { owed } = await fetchHealth(order.url);
        if (owed[kind]?.count !== left) throw new Error(JSON.stringify(owed));
        return Object.entries(owed).flatMap(([name, one]) => (one.count > 0 ? [name] : []));
      });

    run.progress("releases");
    await setFaults(inventory, { hang: true });
    inventoryFront.refuse = () => 500;
    await sendAll();
    await untilOwed("releases", ORDERS);
    const [first] = read<{ order_id: string }>(
      order,
      "SELECT min(order_id) AS order_id FROM releases",
    );
    inventoryFront.refuse = ({ order_id }) => (order_id === first!.order_id ? 500 : undefined);
    await setFaults(inventory, {});
    run.holds("all releases but the refused one are done", await untilOwed("releases", 1), [
      "releases",
    ]);

    run.progress("confirmations");
    notificationFront.refuse = () => 500;
    await sendAll();
    const untold = oldest("reserved");
    notificationFront.refuse = ({ order_id }) => (order_id === untold ? 500 : undefined);
    run.holds(
      "all confirmations but the refused one are sent",
      (await untilOwed("confirmations", 1)).includes("confirmations"),
      true,
    );

    run.progress("orders left half-way");
    await setFaults(inventory, { hang: true });
    const halfway = sendAll();
    await eventually(
      "all are stored",
      () => count(order, "SELECT count(*) FROM orders WHERE status = 'placed'") === ORDERS,
    );
    await order.kill();
    await halfway;
    const silent = oldest("placed");
    inventoryFront.refuse = ({ order_id }) => (order_id === silent ? "no answer" : undefined);
    await setFaults(inventory, {});
    await order.restart();
    run.holds(
      "all orders but the one without an answer are ended",
      (await untilOwed("orders", 1)).includes("orders"),
      true,
    );

    inventoryFront.refuse = () => undefined;
    notificationFront.refuse = () => undefined;
    await judge(run, trial, { kills: 1, faults: 3 });
    answersTable(run, trial);
  },
);
