/** Messages that kill each consumer of the asynchronous model. */
import { DeadLetters } from "@lab/lab/probes/dead-letters";
import { testKillerMessage } from "@lab/proof/input/killer-message";
import type { Trial } from "@lab/lab/experiment/trial";
import { BROKER } from "../model.ts";

const QUEUES = Object.keys(BROKER.queues);

const open = ({ broker, namespace }: Trial) => DeadLetters.open(broker.address, namespace, BROKER);

testKillerMessage({
  model: "async-rabbitmq",
  victims: [
    { service: "inventory", killers: ["killed-by-a-signal", "killed-by-a-bug"], messages: 1 },
    { service: "downstream", killers: ["killed-by-a-signal"], messages: 1 },
    // The reservation and the confirmation.
    { service: "order", killers: ["killed-by-a-signal"], messages: 2 },
  ],
  async letters(trial) {
    await using dead = await open(trial);
    const lists = [];
    for (const queue of QUEUES) lists.push(...(await dead.list(queue)));
    return lists.map(({ body, reason }) => ({ reason, body: body.toString() }));
  },
  async replay(trial) {
    await using dead = await open(trial);
    for (const queue of QUEUES) await dead.replay(queue, "all");
  },
});
