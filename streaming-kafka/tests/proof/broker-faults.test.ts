/** Kafka dies and hangs, under load. */
import { testBrokerFaults } from "@lab/proof/broker-faults";

testBrokerFaults({ model: "streaming-kafka", broker: "kafka" });
