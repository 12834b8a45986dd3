/** SIGTERM under load: each service in turn, and a second signal. */
import { eventsOf, readTopic, withAdmin } from "@lab/lab/probes/kafka-tools";
import { describeGroup, totalCommitted } from "@lab/lab/probes/lag";
import { count } from "@lab/lab/probes/databases";
import { testStop } from "@lab/proof/kills/stop";
import { topics } from "../../topics.ts";

testStop({
  model: "streaming-kafka",
  repetition:
    "After each stop the group's committed offsets are held against what the service has stored; in the end no event is in a topic twice.",
  repeats: "a record worked on or written twice",
  watch: async (trial) => {
    const { address } = trial.broker;
    const names = topics(trial.namespace);
    const { inventory, order, downstream } = trial.campus;
    /** Of each service: its group, and how many records its database says it has worked on. */
    const readers = new Map([
      [order, [names.statusGroup, "SELECT count(*) FROM order_steps WHERE status <> 'placed'"]],
      [inventory, [names.inventoryGroup, "SELECT count(*) FROM ledger"]],
      [downstream, [names.analyticsGroup, "SELECT sum(next_offset) FROM positions"]],
    ]);
    return {
      async afterStop(service) {
        const [group = "", sql = ""] = readers.get(service) ?? [];
        const rows = await withAdmin(address, (admin) => describeGroup(admin, group));
        const committed = totalCommitted(rows);
        const stored = count(service, sql);
        return committed === stored ? [] : [`${stored} stored, ${committed} committed`];
      },
      async repeated() {
        const twice = async (topic: string) => eventsOf(await readTopic(address, topic)).duplicates;
        return {
          orders_twice: await twice(names.orderEvents),
          outcomes_twice: await twice(names.inventoryEvents),
        };
      },
      async [Symbol.asyncDispose]() {},
    };
  },
});
