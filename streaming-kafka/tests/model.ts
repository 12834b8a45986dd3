/** What the lab has to know of the streaming model. */
import type { ModelFacts } from "@lab/lab/services/model-facts";
import { MAX_ATTEMPTS, PARTITIONS } from "../topics.ts";

export const MODEL: ModelFacts = {
  services: ["order-producer", "inventory-consumer", "analytics-consumer"],
  downstream: "analytics",
  takesBulks: true,
  broker: { name: "kafka", concurrency: PARTITIONS },
  calls: {},
  links: ["services - kafka"],
  success: "reserved",
  givenUp: [],
  maxAttempts: MAX_ATTEMPTS,
};
