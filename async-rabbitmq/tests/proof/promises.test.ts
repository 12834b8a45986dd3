/** What the asynchronous model promises, and whether it keeps it. */
import { testPromises } from "@lab/lab/proof/promises";
import { Rabbitmq } from "@lab/lab/rabbitmq-tools";
import { eventually } from "@lab/lab/waiting";
import { deadQueue, topology } from "../../topology.ts";

testPromises({
  model: "async-rabbitmq",
  async hands({ broker, namespace }) {
    const rabbit = new Rabbitmq(broker);
    const { exchange, inventoryQueue, notificationQueue, orderQueue } = topology(namespace);
    const spy = await rabbit.spy(exchange);
    const queues: Record<string, string[]> = {
      "order.placed": [inventoryQueue],
      "inventory.reserved": [notificationQueue, orderQueue],
    };
    return {
      async repeat(orderId) {
        for (const { body, id, key } of spy.messages.filter((one) => one.body.includes(orderId))) {
          for (const queue of queues[key] ?? []) await rabbit.put(queue, body, { messageId: id });
        }
      },
      async sendInvalid() {
        await rabbit.put(inventoryQueue, "{}");
        await eventually(
          "it is dead",
          async () => (await rabbit.ready(deadQueue(inventoryQueue))) === 1,
        );
        return "dead queue";
      },
      [Symbol.asyncDispose]: () => rabbit[Symbol.asyncDispose](),
    };
  },
});
