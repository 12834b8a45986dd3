/** An event that is too large for its topic, which refuses all that is sent with it. */
import { withAdmin } from "@lab/lab/probes/kafka-tools";
import { testRefusedEvent } from "@lab/proof/faults/one-refused";
import { ConfigResourceTypes } from "kafkajs";
import { topics } from "../../topics.ts";

const DEFAULT_BYTES = 1_048_588;

testRefusedEvent({
  model: "streaming-kafka",
  broker: "kafka",
  limit: (broker, trial, bytes = DEFAULT_BYTES) =>
    withAdmin(broker.address, async (admin) => {
      const configEntries = [{ name: "max.message.bytes", value: String(bytes) }];
      const name = topics(trial.namespace).orderEvents;
      const type = ConfigResourceTypes.TOPIC;
      await admin.alterConfigs({ validateOnly: false, resources: [{ type, name, configEntries }] });
    }),
});
