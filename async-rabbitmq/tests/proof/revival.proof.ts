/** Services and RabbitMQ killed under `scripts/lab up`, and brought back by it. */
import { testRevival } from "@lab/proof/kills/revival";

testRevival({
  model: "async-rabbitmq",
  name: "async",
  tool: { words: ["dlq", "list"], finds: "no dead letters" },
});
