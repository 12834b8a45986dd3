/** What the lab has to know of the asynchronous model. */
import type { ModelFacts } from "@lab/lab/services/model-facts";
import { DELIVERY_LIMIT } from "../topology.ts";

export const MODEL: ModelFacts = {
  services: ["order-service", "inventory-service", "notification-service"],
  downstream: "notification",
  takesBulks: false,
  broker: { name: "rabbitmq", concurrency: 1 },
  calls: {},
  links: ["services - rabbitmq"],
  success: "confirmed",
  givenUp: [],
  // The first one, and those that the limit allows after it.
  maxAttempts: DELIVERY_LIMIT + 1,
};
