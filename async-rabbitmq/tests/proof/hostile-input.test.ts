/** Bad input of every kind beside honest orders. */
import { testHostileInput } from "@lab/proof/input/hostile-input";
import { Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";
import { deadQueue, topology } from "../../topology.ts";
import { INPUT } from "../input.ts";

testHostileInput({
  model: "async-rabbitmq",
  input: INPUT,
  sources({ namespace }) {
    const { inventoryQueue, notificationQueue, orderQueue } = topology(namespace);
    return [
      { name: inventoryQueue, types: ["OrderPlaced"] },
      { name: notificationQueue, types: ["InventoryReserved"] },
      { name: orderQueue, types: ["InventoryReserved", "InventoryFailed", "ConfirmationSent"] },
    ];
  },
  badMessage: "A bad message that isn't in its dead queue.",
  async put({ broker }, queue, messages) {
    await using rabbit = new Rabbitmq(broker);
    for (const message of messages) await rabbit.put(queue, message);
  },
  async dead({ broker }, sent) {
    await using rabbit = new Rabbitmq(broker);
    let [must, are] = [0, 0];
    for (const [queue, messages] of sent) {
      must += messages.length;
      are += await rabbit.ready(deadQueue(queue));
    }
    return [must, are];
  },
});
