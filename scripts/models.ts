import type { BrokerName } from "@lab/lab/brokers/broker";
import type { Model } from "@lab/evidence/evidence";
import { factsOf } from "@lab/lab/brokers/model-facts";

interface Started {
  model: Model;
  /** The ports of its services, in their order. */
  ports: readonly number[];
}

/** The models by their names on the command line, with the fixed ports that `up` uses. */
export const MODELS: Record<string, Started> = {
  sync: { model: "sync-rest", ports: [8001, 8002, 8009] },
  async: { model: "async-rabbitmq", ports: [8011, 8012, 8019] },
  stream: { model: "streaming-kafka", ports: [8021, 8022, 8029] },
};

/** The fixed ports by service. */
export function fixedPorts({ model, ports }: Started): Record<string, number> {
  return Object.fromEntries(factsOf(model).services.map((service, n) => [service, ports[n]!]));
}

/** The broker that a model uses; undefined where there is none. */
export function brokerOf(model: Model): BrokerName | undefined {
  return factsOf(model).broker?.name;
}
