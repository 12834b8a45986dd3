import type { BrokerName } from "@lab/lab/brokers/broker";
import type { Model } from "@lab/evidence/evidence";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { unknown, UsageError } from "./command.ts";

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

/** The models that the words of a command line name; all of them for `all` and for no word. Throws UsageError for others. */
export function modelsNamed(words: readonly string[]): Model[] {
  const names = Object.keys(MODELS);
  const wanted = words.length === 0 || words.includes("all") ? names : words;
  return wanted.map((word) => {
    const one = Object.hasOwn(MODELS, word) ? MODELS[word] : undefined;
    if (one === undefined) throw new UsageError(unknown("model", word, [...names, "all"]));
    return one.model;
  });
}

/** The fixed ports by service. */
export function fixedPorts({ model, ports }: Started): Record<string, number> {
  return Object.fromEntries(factsOf(model).services.map((service, n) => [service, ports[n]!]));
}

/** The broker that a model uses; undefined where there is none. */
export function brokerOf(model: Model): BrokerName | undefined {
  return factsOf(model).broker?.name;
}
