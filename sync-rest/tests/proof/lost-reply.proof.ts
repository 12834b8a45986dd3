/** The request arrives, the reply does not: the one failure that a caller can't tell from all others. */
import { noteCounts } from "@lab/proof/common";
import { violations } from "@lab/lab/check/checker";
import { experiment } from "@lab/lab/experiment/experiment";
import { owedOf } from "@lab/lab/services/health";
import { closedLoop } from "@lab/lab/load/load";
import { freePorts } from "@lab/lab/host/ports";
import { count } from "@lab/lab/probes/databases";
import { startProxy } from "@lab/lab/proxy/proxy";
import type { ToxicRequest } from "@lab/lab/proxy/toxics";
import { trialOf } from "@lab/lab/experiment/trial";
import { eventually } from "@lab/lab/host/waiting";
import { sendOrder } from "../campus.ts";

const ORDERS = 40;
const CONNECTIONS = 20;
const TIMEOUT_MS = 500;
/** Less than the head of any answer. */
const CUT_AFTER_BYTES = 20;

/** Three ways to lose a reply. */
const WAYS: [name: string, toxic: ToxicRequest][] = [
  ["it vanishes (timeout)", { type: "timeout" }],
  ["an RST instead of it (reset_peer)", { type: "reset_peer" }],
  [
    "its first bytes alone (limit_data)",
    { type: "limit_data", attributes: { bytes: CUT_AFTER_BYTES } },
  ],
];

experiment(
  {
    name: "lost-reply",
    model: "sync-rest",
    question: "Inventory reserves, and its reply gets lost: who holds the stock?",
    method: `A TCP proxy between Order and Inventory lets every request through and loses every reply, in three ways: ${ORDERS} orders at ${CONNECTIONS} connections each, the releases' replies lost too. Stock is counted by what Inventory has stored, before the fault ends and after.`,
    disproof:
      "An answer other than 504, an order that Inventory hasn't reserved first, a unit that isn't back in stock once replies arrive again.",
    requirements: ["A4", "D2"],
    parameters: {
      orders_per_way: ORDERS,
      connections: CONNECTIONS,
      inventory_timeout_ms: TIMEOUT_MS,
    },
  },
  async (run) => {
    const [port] = (await freePorts(1)) as [number];
    await using proxy = await startProxy({ upstream: `127.0.0.1:${port}` });
    await using trial = await trialOf(run, "lost-reply", {
      ports: { "inventory-service": port },
      env: {
        INVENTORY_URL: `http://${proxy.listen}`,
        INVENTORY_TIMEOUT_MS: String(TIMEOUT_MS),
      },
    });
    const { campus } = trial;
    const load = { connections: CONNECTIONS, send: sendOrder(run, campus) };
    const opening = unitsLeft(campus.inventory);
    const good = await closedLoop({ ...load, count: 100 });
    run.holds("while replies arrive, every answer is 201", good.answers, { "ok 201": 100 });
    const sold = opening - unitsLeft(campus.inventory);

    const rows: (string | number)[][] = [];
    let owedMost = 0;
    for (const [way, toxic] of WAYS) {
      run.progress(way);
      const { name } = proxy.add(toxic);
      const before = opening - sold - unitsLeft(campus.inventory);
      const lost = await closedLoop({ ...load, count: ORDERS });
      run.holds(`${way}: every answer is 504`, lost.answers, {
        "failed 504 inventory_timeout": ORDERS,
      });
      const held = opening - sold - unitsLeft(campus.inventory);
      const owed = await owedOf("releases", campus.order.url);
      run.holds(
        `${way}: failed orders hold stock, and their releases are owed`,
        [held > 0, owed],
        [true, ORDERS],
      );
      owedMost = Math.max(owedMost, owed);
      proxy.remove(name);
      await eventually("no release is owed", async () => {
        return (await owedOf("releases", campus.order.url)) === 0;
      });
      const after = opening - sold - unitsLeft(campus.inventory);
      run.holds(`${way}: all of it is given back`, [before, after], [0, 0]);
      rows.push([way, ORDERS, lost.outcomes.failed, before, held, owed, after]);
    }

    const again = await closedLoop({ ...load, count: 100 });
    run.holds("once replies arrive again, every answer is 201", again.answers, { "ok 201": 100 });
    await trial.settle();
    const verdict = await trial.verdict();
    run.holds("the checker finds nothing illegal", violations(verdict), {});
    const total = WAYS.length * ORDERS;
    run.holds("every lost one was reserved, then released", reservedThenReleased(campus), total);
    const missing = opening - unitsLeft(campus.inventory) - verdict.confirmed;
    run.holds("stock is conserved to the unit", [verdict.confirmed, missing], [200, 0]);

    run.table({
      id: "lost-reply",
      title: "Stock while replies get lost, and after",
      columns: [
        { name: "the reply" },
        { name: "orders" },
        { name: "answered 504" },
        { name: "held before", unit: "units" },
        { name: "held while it lasts", unit: "units" },
        { name: "releases owed" },
        { name: "held after", unit: "units" },
      ],
      rows,
      note: "An order is one unit. Held: by orders that were answered 504. Of what is owed the oldest release is tried again and again, and arrives; that its reply is lost too keeps it owed.",
    });
    noteCounts(run, [verdict], { kills: 0, faults: WAYS.length });
    run.figure("released", verdict.released);
    run.figure("held_during_units", Math.max(...rows.map(([, , , , held]) => Number(held))));
    run.figure("held_after_units", Math.max(...rows.map((row) => Number(row.at(-1)))));
    run.figure("releases_owed", owedMost);
    run.figure("replies_reset", proxy.counters.resets);
  },
);

/** Units in all kitchens. */
function unitsLeft(inventory: { database: string }): number {
  return count(inventory, "SELECT sum(quantity) FROM stock");
}

/** Released orders that are no tombstones: a tombstone knows no kitchen. */
function reservedThenReleased({ inventory }: { inventory: { database: string } }): number {
  return count(
    inventory,
    "SELECT count(*) FROM reservations WHERE state = 'released' AND kitchen IS NOT NULL",
  );
}
