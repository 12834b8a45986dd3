/** Kafka dies and hangs, under load. */
import { testBrokerFaults } from "@lab/proof/faults/broker-faults";

testBrokerFaults({ model: "streaming-kafka", broker: "kafka" });
