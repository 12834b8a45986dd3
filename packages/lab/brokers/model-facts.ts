import type { EventType } from "@lab/contracts/events";
import type { PROBLEMS } from "@lab/contracts/problem";
import type { Model } from "@lab/evidence/evidence";
import { repoFolder } from "@lab/evidence/folders";
import { join } from "node:path";

/** What the lab has to know about a model to start it, to inject faults and to check it. */
export interface ModelFacts {
  /**
   * The names of its services' files: the one that takes orders, the one that reserves stock, and
   * the one that processes the result.
   */
  services: readonly [order: string, inventory: string, downstream: string];
  /** What the downstream service does: it tells the customer, or counts. */
  downstream: "notification" | "analytics";
  /** Whether the order service accepts a stream of orders (`POST /orders/bulk`). */
  takesBulks: boolean;
  /** The broker between the services; undefined where they call each other. */
  broker?: RabbitmqFacts | KafkaFacts;
  /** The services that the order service calls, each by the variable that has its URL. */
  calls: Readonly<Record<string, string>>;
  /** The connections between the services, or to the broker, where a proof may put a proxy. */
  links: readonly string[];
  /** The final status of a good order. Any other ends as `failed`. */
  success: "reserved" | "confirmed";
  /** Why an order may fail although Inventory has not refused it. */
  givenUp: readonly (keyof typeof PROBLEMS)[];
  /** Attempts at a message until it is dead-lettered. */
  maxAttempts: number;
}

/** Names of queues, topics and groups are without their prefix, the namespace. */
export interface RabbitmqFacts {
  name: "rabbitmq";
  /** The queues, and the event types that each receives. */
  queues: Readonly<Record<string, readonly EventType[]>>;
  /** Where a queue's dead letters go. */
  deadQueue: (queue: string) => string;
  /** The header that marks a letter as put back from there. */
  redrivenHeader: string;
  /** Deliveries of a message until RabbitMQ itself dead-letters it. */
  maxDeliveries: number;
  /** Messages that Inventory processes at a time. */
  concurrency: number;
}

interface KafkaFacts {
  name: "kafka";
  /** The consumer groups. */
  groups: readonly string[];
  /** What Inventory reads, and what it answers to. */
  topics: readonly [orders: string, outcomes: string];
  /** Where the dead letters go, which were of these event types. */
  deadTopic: string;
  letterTypes: readonly EventType[];
  /** Records that Inventory processes at a time. */
  concurrency: number;
}

const known = new Map<Model, ModelFacts>();

/** The facts of a model: each defines its own in `tests/model.ts`. */
export function factsOf(model: Model): ModelFacts {
  let facts = known.get(model);
  if (facts === undefined) {
    // Loaded by path, since packages import no model; and synchronously, so that callers need not
    // await it.
    const { MODEL } = require(join(repoFolder, model, "tests/model.ts")) as { MODEL: ModelFacts };
    known.set(model, (facts = MODEL));
  }
  return facts;
}
