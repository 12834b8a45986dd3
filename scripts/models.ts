import type { BrokerName } from "@lab/lab/brokers/broker";
import type { Model } from "@lab/evidence/evidence";

/** What the command line calls a model, which broker it stands on, and its fixed ports when a person starts it. */
export const MODELS: Record<
  string,
  { model: Model; broker?: BrokerName; ports: Record<string, number> }
> = {
  sync: {
    model: "sync-rest",
    ports: {
      "order-service": 8001,
      "inventory-service": 8002,
      "notification-service": 8009,
    },
  },
  async: {
    model: "async-rabbitmq",
    broker: "rabbitmq",
    ports: {
      "order-service": 8011,
      "inventory-service": 8012,
      "notification-service": 8019,
    },
  },
  stream: {
    model: "streaming-kafka",
    broker: "kafka",
    ports: {
      "order-producer": 8021,
      "inventory-consumer": 8022,
      "analytics-consumer": 8029,
    },
  },
};

/** The broker that a model stands on; undefined for sync-rest. */
export function brokerOf(model: Model): BrokerName | undefined {
  return Object.values(MODELS).find((one) => one.model === model)?.broker;
}
