/** One Inventory, three, and one again, on one database. */
import { repeatsIn } from "@lab/lab/services/logs";
import { testRebalances } from "@lab/proof/faults/rebalances";
import { Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";
import { topology } from "../../topology.ts";

testRebalances({
  model: "async-rabbitmq",
  async consumers({ broker, namespace }) {
    await using rabbit = new Rabbitmq(broker);
    return await rabbit.consumers(topology(namespace).inventoryQueue);
  },
  // Its channel is gone, but what it has in hand it finishes: its ledger knows that others did it.
  lateWork: async (_, { logFile }) => repeatsIn(logFile),
});
