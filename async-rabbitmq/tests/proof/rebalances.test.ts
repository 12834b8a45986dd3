/** One Inventory, three, and one again, on one database. */
import { readFileSync } from "node:fs";
import { testRebalances } from "@lab/lab/proof/rebalances";
import { Rabbitmq } from "@lab/lab/rabbitmq-tools";
import { topology } from "../../topology.ts";

testRebalances({
  model: "async-rabbitmq",
  async consumers({ broker, namespace }) {
    await using rabbit = new Rabbitmq(broker);
    return await rabbit.consumers(topology(namespace).inventoryQueue);
  },
  // Its channel is gone: what it has committed it can't publish, and says so.
  async lateWork(_, { logFile }) {
    return readFileSync(logFile, "utf8").split('"message_retried"').length - 1;
  },
});
