/** What the asynchronous model promises, and whether it keeps it. */
import { DeadLetters } from "@lab/lab/probes/dead-letters";
import { sameIdAgain, testPromises } from "@lab/proof/kills/promises";
import { Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";
import { eventually } from "@lab/lab/host/waiting";
import { deadQueue, topology } from "../../topology.ts";
import { BROKER } from "../model.ts";

testPromises({
  model: "async-rabbitmq",
  async actions(trial) {
    const { broker, namespace } = trial;
    const rabbit = new Rabbitmq(broker);
    const { exchange, inventoryQueue, notificationQueue, orderQueue } = topology(namespace);
    const spy = await rabbit.spy(exchange);
    const queues: Record<string, string[]> = {
      "order.placed": [inventoryQueue],
      "inventory.reserved": [notificationQueue, orderQueue],
    };
    return {
      async repeat(orderId) {
        const own = spy.messages.filter(({ body }) => body.includes(orderId));
        const repeats = own.flatMap((one) =>
          (queues[one.key] ?? []).map((queue) => ({ ...one, queue })),
        );
        for (const { body, id, queue } of repeats) await rabbit.put(queue, body, { messageId: id });
        return repeats.length;
      },
      async ordersWaitIn(count) {
        await eventually(
          "all orders are in the queue",
          async () => (await rabbit.ready(inventoryQueue)) === count,
        );
        return "its queue";
      },
      async sendInvalid() {
        await rabbit.put(inventoryQueue, "{}");
        await eventually(
          "it is dead",
          async () => (await rabbit.ready(deadQueue(inventoryQueue))) === 1,
        );
        return "dead queue";
      },
      async reuseId(order) {
        const body = sameIdAgain(trial, order);
        await rabbit.put(inventoryQueue, body);
        await eventually("it is dead, with its reason", async () => {
          await using letters = await DeadLetters.open(broker.address, namespace, BROKER);
          const found = await letters.list("inventory.order-placed");
          return found.some((one) => one.reason === "id_reused" && one.body.toString() === body);
        });
        return "dead queue";
      },
      [Symbol.asyncDispose]: () => rabbit[Symbol.asyncDispose](),
    };
  },
});
