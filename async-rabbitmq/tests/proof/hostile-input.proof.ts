/** Bad input of every kind beside honest orders. */
import { testHostileInput } from "@lab/proof/input/hostile-input";
import { Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";
import { deadQueue } from "../../topology.ts";
import { INPUT } from "../input.ts";
import { BROKER } from "../model.ts";

testHostileInput({
  model: "async-rabbitmq",
  input: INPUT,
  sources({ namespace }) {
    const queues = Object.entries(BROKER.queues);
    return queues.map(([queue, types]) => ({ name: `${namespace}${queue}`, types }));
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
