import type { EventType } from "@lab/contracts/events";
import type { PROBLEMS } from "@lab/contracts/problem";
import type { Model } from "@lab/evidence/evidence";
import { repoFolder } from "@lab/evidence/folders";
import { join } from "node:path";

/** What the lab has to know of a model before it can start it, strike it and judge it. */
export interface ModelFacts {
  /** The names of its services' files: who takes the order, who reserves stock, and who works on what comes of it. */
  services: readonly [order: string, inventory: string, downstream: string];
  /** What the downstream service does: it tells the customer, or counts. */
  downstream: "notification" | "analytics";
  /** Whether a client may ask the order service for a stream of orders (`POST /orders/bulk`). */
  takesBulks: boolean;
  /** Between the services; undefined where they call each other. */
  broker?: RabbitmqFacts | KafkaFacts;
  /** The services that the order service calls, each by the variable that has its URL. */
  calls: Readonly<Record<string, string>>;
  /** The lines between the services, or to the broker, where a proof may put a proxy. */
  links: readonly string[];
  /** What a good order ends as. Any other ends as `failed`. */
  success: "reserved" | "confirmed";
  /** Why an order may fail though Inventory has never refused it. */
  givenUp: readonly (keyof typeof PROBLEMS)[];
  /** Attempts at a message, until it is dead. */
  maxAttempts: number;
}

/** Names of queues, topics and groups are without the namespace, which stands before them. */
export interface RabbitmqFacts {
  name: "rabbitmq";
  /** The queues, and the types of event that each takes. */
  queues: Readonly<Record<string, readonly EventType[]>>;
  /** Where a queue's dead letters go. */
  deadQueue: (queue: string) => string;
  /** Deliveries of a message, until RabbitMQ itself gives it up. */
  maxDeliveries: number;
  /** Messages that Inventory works on at a time. */
  concurrency: number;
}

interface KafkaFacts {
  name: "kafka";
  /** The consumer groups. */
  groups: readonly string[];
  /** Where the dead letters go. */
  deadTopic: string;
  /** Records that Inventory works on at a time. */
  concurrency: number;
}

/** The facts of a model: each gives its own, in `tests/model.ts`. */
export function factsOf(model: Model): ModelFacts {
  // Loaded by its path, since a package knows no model; and at once, so that who asks need not wait.
  const { MODEL } = require(join(repoFolder, model, "tests/model.ts")) as { MODEL: ModelFacts };
  return MODEL;
}
