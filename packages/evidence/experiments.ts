import type { Model } from "./evidence.ts";
import type { ExperimentName } from "./figures.ts";

/** The three models in the order of the assignment, with their names in text. */
export const models: { model: Model; part: string; title: string }[] = [
  { model: "sync-rest", part: "A", title: "Synchronous REST" },
  { model: "async-rabbitmq", part: "B", title: "Messages: RabbitMQ" },
  { model: "streaming-kafka", part: "C", title: "A stream: Kafka" },
];

/** Every experiment of the lab, in the report's order. One that left no evidence is a shortfall. */
export const experiments: Record<ExperimentName, Model> = {
  "baseline-latency": "sync-rest",
  "slow-inventory": "sync-rest",
  "failing-inventory": "sync-rest",
  "hanging-inventory": "sync-rest",
  "dead-inventory": "sync-rest",
  "dead-notification": "sync-rest",
  "backlog-drain": "async-rabbitmq",
  "duplicate-delivery": "async-rabbitmq",
  "poison-message": "async-rabbitmq",
  "broker-down": "async-rabbitmq",
  "ten-thousand-events": "streaming-kafka",
  "consumer-lag": "streaming-kafka",
  replay: "streaming-kafka",
};

/**
 * The proofs, most of them run against more than one model, in the order of the page "Proof", with
 * their headings. A run needn't have any of them.
 */
export const proofs: Record<string, string> = {
  promises: "What each model promises",
  "crash-points": "SIGKILL at every point",
  mutants: "Every protection taken away",
  "lost-reply": "The request arrives, the reply doesn't",
  "network-faults": "Network faults",
  "broker-faults": "Broker faults",
  operators: "An operator's hands in RabbitMQ",
  "odd-letters": "Dead letters of others' making",
  "storage-faults": "Storage faults",
  "lost-database": "A database taken away",
  stop: "Stop under load",
  "lost-log": "The log loses records",
  "killer-message": "A message that kills its process",
  revival: "All killed, and up again",
  rebalances: "One consumer, three, and one again",
  overload: "More than it can take",
  "as-shipped": "As the image starts it",
  "one-refused": "One order is refused for ever",
  "hostile-input": "Hostile input beside honest orders",
  "foreign-records": "What other programs write into the log",
  topology: "Topics and groups taken away",
  storm: "Storm",
};

/** The benchmarks in the order of the page "Speed", with their headings. A run needn't have any of them. */
export const benchmarks: Record<string, string> = {
  ceilings: "Beside the ceilings",
};

/**
 * The lines of the assignment, and where they are answered when no single experiment answers them.
 */
export const requirements: {
  id: string;
  text: string;
  /** Report sections that answer it besides the experiments: [anchor, title]. */
  sections?: [anchor: string, title: string][];
  elsewhere?: string;
}[] = [
  {
    id: "A1",
    text: "OrderService calls Inventory, then Notification, and waits",
  },
  { id: "A2", text: "Baseline latency over N requests" },
  { id: "A3", text: "2 s delay in Inventory: the effect on the order" },
  { id: "A4", text: "Inventory fails, hangs, is dead" },
  {
    id: "A5",
    text: "The reasoning: why it behaves so",
    sections: [["reasoning-a5", "A5: why it behaves so"]],
  },
  { id: "B1", text: "Order and event stored together, answered 202" },
  { id: "B2", text: "Inventory consumes, reserves, publishes the outcome" },
  { id: "B3", text: "Notification confirms what was reserved" },
  { id: "B4", text: "Inventory dead for 60 s, the backlog drains" },
  {
    id: "B5",
    text: "The same event twice reserves once; the strategy",
    sections: [["reasoning-b5", "B5: why twice is once"]],
  },
  { id: "B6", text: "A malformed event goes to the dead-letter queue" },
  {
    id: "C1",
    text: "Producer, Inventory and Analytics over a stream; metrics",
  },
  { id: "C2", text: "10,000 events" },
  { id: "C3", text: "Consumer lag under throttling" },
  {
    id: "C4",
    text: "Replay: reset the offsets, compute again; why it is equal",
    sections: [["reasoning-c4", "C4: why a replay gives the same numbers"]],
  },
  {
    id: "D1",
    text: "Each part self-contained",
    elsewhere:
      "the folders `sync-rest/`, `async-rabbitmq/` and `streaming-kafka/`: services, tests, README and results of each (in a hand-in they are in `sources.zip`)",
  },
  {
    id: "D2",
    text: "Faults at start and at run time",
    elsewhere:
      "`INVENTORY_DELAY_MS=2000 scripts/lab up sync` at the start, `PUT /faults` while it runs",
  },
  { id: "D3", text: "Burst, limited rate, failure rate, throttle" },
  { id: "D4", text: "Lag, depth, dead letters, stock seen while it runs" },
  {
    id: "D5",
    text: "The three models compared",
    sections: [["comparison", "D5: the three models compared"]],
  },
];
