/** Records that kill each consumer of the streaming model. */
import { readTopic } from "@lab/lab/probes/kafka-tools";
import { testKillerMessage } from "@lab/proof/input/killer-message";
import { topics } from "../../topics.ts";

testKillerMessage({
  model: "streaming-kafka",
  victims: [
    { service: "inventory", killers: ["killed-by-a-signal", "killed-by-a-bug"], messages: 1 },
    { service: "order", killers: ["killed-by-a-signal"], messages: 1 },
    // The order and the reservation.
    { service: "downstream", killers: ["killed-by-a-signal"], messages: 2 },
  ],
  async letters({ broker, namespace }) {
    const records = await readTopic(broker.address, topics(namespace).deadLetters);
    return records.map(({ headers, value }) => ({
      reason: headers["reason"] ?? "",
      body: String(value),
    }));
  },
});
