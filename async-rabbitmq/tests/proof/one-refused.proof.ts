/** An event that is too large for RabbitMQ, which ends the channel over it. */
import { testRefusedEvent } from "@lab/proof/faults/one-refused";
import { rabbitmqctl } from "@lab/lab/brokers/rabbitmqctl";

const DEFAULT_BYTES = 134_217_728;

testRefusedEvent({
  model: "async-rabbitmq",
  broker: "rabbitmq",
  limit: async (broker, _, bytes = DEFAULT_BYTES) =>
    void (await rabbitmqctl(
      broker,
      "eval",
      `application:set_env(rabbit, max_message_size, ${bytes}), persistent_term:put(max_message_size, ${bytes}).`,
    )),
});
