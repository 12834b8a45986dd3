/** SIGTERM under load: each service in turn, and a second signal. */
import { testStop } from "@lab/proof/kills/stop";
import { Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";
import { eventually } from "@lab/lab/host/waiting";
import { topology } from "../../topology.ts";

testStop({
  model: "async-rabbitmq",
  repetition:
    "By RabbitMQ's own count no delivery may go without its acknowledgement, and by a spy on the exchange nothing is published twice.",
  repeats: "a message delivered in vain or published twice",
  watch: async (trial) => {
    const rabbit = new Rabbitmq(trial.broker);
    const { exchange, inventoryQueue, notificationQueue, orderQueue } = topology(trial.namespace);
    const spy = await rabbit.spy(exchange);
    return {
      async repeated() {
        const { messages } = spy;
        // InventoryReserved goes to two queues.
        const reserved = messages.filter(({ key }) => key === "inventory.reserved");
        const expected = messages.length + reserved.length;
        const inVain = await eventually("RabbitMQ has counted every delivery", async () => {
          const queues = [inventoryQueue, notificationQueue, orderQueue];
          const figures = await Promise.all(queues.map((queue) => rabbit.deliveries(queue)));
          const delivered = figures.reduce((sum, one) => sum + one.delivered, 0);
          const acknowledged = figures.reduce((sum, one) => sum + one.acknowledged, 0);
          if (acknowledged < expected) throw new Error(`${acknowledged} of ${expected}`);
          return { deliveries: delivered - acknowledged };
        });
        return {
          deliveries_in_vain: inVain.deliveries,
          published_twice: messages.length - new Set(messages.map(({ id }) => id)).size,
        };
      },
      [Symbol.asyncDispose]: () => rabbit[Symbol.asyncDispose](),
    };
  },
});
