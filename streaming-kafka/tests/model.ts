/** What the lab has to know about the streaming model. */
import type { ModelFacts } from "@lab/lab/brokers/model-facts";
import { MAX_ATTEMPTS, PARTITIONS, topics } from "../topics.ts";

/** The consumer groups of a namespace. */
export function groupsOf(namespace: string): string[] {
  const { analyticsGroup, inventoryGroup, statusGroup } = topics(namespace);
  return [inventoryGroup, analyticsGroup, statusGroup];
}

export const MODEL: ModelFacts = {
  services: ["order-producer", "inventory-consumer", "analytics-consumer"],
  downstream: "analytics",
  takesBulks: true,
  broker: {
    name: "kafka",
    groups: groupsOf(""),
    topics: [topics("").orderEvents, topics("").inventoryEvents],
    deadTopic: topics("").deadLetters,
    letterTypes: ["OrderPlaced"],
    concurrency: PARTITIONS,
  },
  calls: {},
  links: ["services - kafka"],
  success: "reserved",
  givenUp: [],
  maxAttempts: MAX_ATTEMPTS,
};
