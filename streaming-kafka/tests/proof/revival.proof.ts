/** Services and Kafka killed under `scripts/lab up`, and brought back by it. */
import { testRevival } from "@lab/proof/kills/revival";

testRevival({
  model: "streaming-kafka",
  name: "stream",
  tool: { words: ["lag"], finds: "first-order-status" },
});
