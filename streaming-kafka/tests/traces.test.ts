/** One order is one trace through the log and its readers; see `testTraces` for the method. */
import { testTraces } from "@lab/lab/experiment/traces";
import { produceRaw } from "@lab/lab/probes/kafka-tools";
import { beginReplay } from "@lab/lab/probes/replay";
import { topics } from "../topics.ts";

testTraces("streaming-kafka", {
  tree: [
    "server POST /order, order-producer",
    "  producer send order-events, order-producer",
    "    consumer process order-events, analytics-consumer",
    "      client settle order-events, analytics-consumer",
    "    consumer process order-events, inventory-consumer",
    "      client settle order-events, inventory-consumer",
    "      producer send inventory-events, inventory-consumer",
    "        consumer process inventory-events, analytics-consumer",
    "          client settle inventory-events, analytics-consumer",
    "        consumer process inventory-events, order-producer",
    "          client settle inventory-events, order-producer",
  ],
  async repeat({ broker, namespace }, value) {
    await produceRaw(broker.address, topics(namespace).orderEvents, [{ key: "main", value }]);
  },
  replay: ({ campus }) => beginReplay(campus.downstream.url),
});
