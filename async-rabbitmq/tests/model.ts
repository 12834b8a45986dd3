/** What the lab has to know about the asynchronous model. */
import type { ModelFacts, RabbitmqFacts } from "@lab/lab/brokers/model-facts";
import {
  BROKERS_LIMIT,
  MAX_ATTEMPTS,
  REDRIVEN,
  deadQueue,
  subscriptions,
  topology,
} from "../topology.ts";

export const BROKER: RabbitmqFacts = {
  name: "rabbitmq",
  queues: subscriptions(topology("")),
  deadQueue,
  redrivenHeader: REDRIVEN,
  maxDeliveries: BROKERS_LIMIT + 1,
  concurrency: 1,
};

export const MODEL: ModelFacts = {
  services: ["order-service", "inventory-service", "notification-service"],
  downstream: "notification",
  takesBulks: false,
  broker: BROKER,
  calls: {},
  links: ["services - rabbitmq"],
  success: "confirmed",
  givenUp: [],
  maxAttempts: MAX_ATTEMPTS,
};
