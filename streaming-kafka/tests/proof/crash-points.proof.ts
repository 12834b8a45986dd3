/** Every service of the streaming model killed in each of its gaps, under load. */
import { produceRaw, readTopic } from "@lab/lab/probes/kafka-tools";
import {
  type CrashSituation,
  STARTING,
  stopping,
  testCrashPoints,
} from "@lab/proof/kills/crash-points";
import { beginReplay } from "@lab/lab/probes/replay";
import { eventually } from "@lab/lab/host/waiting";
import { topics } from "../../topics.ts";

const BULK: CrashSituation = {
  title: "a bulk stream is placed",
  async happen(_, service) {
    await fetch(`${service.url}/orders/bulk`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ count: 3_000, fail_rate: 0.05 }),
      // It may die before it answers.
    }).catch(() => {});
  },
};

const REPLAY: CrashSituation = {
  title: "a replay",
  async happen(_, service) {
    let hasEnded = false;
    void service.exited.then(() => (hasEnded = true));
    // Refused until it is a member of its group, which takes long on a busy machine. It may die before it answers.
    await eventually("a replay begins, or its service ends", () =>
      beginReplay(service.url).then(
        () => true,
        () => hasEnded,
      ),
    );
  },
};

const POISON = `burger, please ${crypto.randomUUID()}`;
const POISONED: CrashSituation = {
  title: "a record that is never valid",
  async happen({ broker, namespace }) {
    const { orderEvents } = topics(namespace);
    await produceRaw(broker.address, orderEvents, [{ partition: 0, value: POISON }]);
  },
  async wrong({ broker, namespace }) {
    const dead = await readTopic(broker.address, topics(namespace).deadLetters);
    return dead.some(({ value }) => String(value) === POISON) ? [] : ["its record isn't dead"];
  },
};

testCrashPoints({
  model: "streaming-kafka",
  ratePerS: 30,
  // Most of the time is spent waiting for the group to miss its dead member.
  lanes: 5,
  env: { INVENTORY_FAIL_RATE: "0.02" },
  again: {
    "order-producer sent-before-mark": { "inventory-consumer": true },
    "order-producer marked": { "inventory-consumer": false },
    "inventory-consumer stored-before-send": { "inventory-consumer": true },
    "inventory-consumer sent-before-offset": { "inventory-consumer": true },
  },
  points: [
    ["order-producer", "placed-before-commit", 20],
    ["order-producer", "stored-before-answer", 20],
    ["order-producer", "bulk-begun-before-answer", 1, BULK],
    ["order-producer", "bulk-placed-before-commit", 2, BULK],
    ["order-producer", "bulk-placed", 2, BULK],
    ["order-producer", "sent-before-mark", 5],
    ["order-producer", "marked", 5],
    ["order-producer", "declared-before-consuming", 1, STARTING],
    ["order-producer", "advanced-before-commit", 5],
    ["order-producer", "advanced-before-offset", 5],
    ["order-producer", "offset-committed", 5],
    stopping("order-producer", "intake-ended"),
    stopping("order-producer", "bulks-ended"),
    stopping("order-producer", "outbox-ended"),
    stopping("order-producer", "group-left"),
    stopping("order-producer", "kafka-left"),
    ["inventory-consumer", "opened-before-listening", 1, STARTING],
    ["inventory-consumer", "declared-before-consuming", 1, STARTING],
    ["inventory-consumer", "failed-before-retry", 1],
    ["inventory-consumer", "refused-before-send", 1, POISONED],
    ["inventory-consumer", "answered-before-dead-letters", 1, POISONED],
    ["inventory-consumer", "decided-before-commit", 20],
    ["inventory-consumer", "stored-before-send", 5],
    ["inventory-consumer", "sent-before-offset", 5],
    ["inventory-consumer", "offset-committed", 5],
    stopping("inventory-consumer", "group-left"),
    stopping("inventory-consumer", "kafka-left"),
    stopping("inventory-consumer", "http-stopped"),
    ["analytics-consumer", "opened-before-listening", 1, STARTING],
    ["analytics-consumer", "declared-before-consuming", 1, STARTING],
    ["analytics-consumer", "folded-before-commit", 5],
    ["analytics-consumer", "folded-before-offset", 5],
    ["analytics-consumer", "offset-committed", 5],
    ["analytics-consumer", "left-before-replay", 1, REPLAY],
    ["analytics-consumer", "replay-begun", 1, REPLAY],
    ["analytics-consumer", "rewound-before-note", 1, REPLAY],
    ["analytics-consumer", "rewound", 1, REPLAY],
    ["analytics-consumer", "replayed-before-swap", 1, REPLAY],
    ["analytics-consumer", "swapped", 1, REPLAY],
    stopping("analytics-consumer", "watch-ended"),
    stopping("analytics-consumer", "group-left"),
    stopping("analytics-consumer", "kafka-left"),
    stopping("analytics-consumer", "http-stopped"),
  ],
});
