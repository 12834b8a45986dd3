/** Where the crash points and the protections of the asynchronous model are in its code. */
import { type CrashSites, STOP_STEP } from "@lab/proof/weaving/crash-sites";
import { only, type Protections } from "@lab/proof/weaving/protections";

/** Of a consumer that answers what it hears. */
const CONSUMER: CrashSites = {
  "declared-before-consuming": "async setup(channel, publisher) { <gap>",
  "refused-before-reject": "<gap> await giveUp(channel, message);",
  rejected: "await giveUp(channel, message); <sent>",
  "failed-before-requeue":
    "<gap> requeueLater(channel, { message, event: decoded.event }, error, log);",
  "published-before-confirm": "<sent> await Promise.all(publishing);",
  "confirmed-before-ack": "await Promise.all(publishing); <gap>",
  acked: "acknowledge(channel, work); <sent>",
  "consumer-stopped": STOP_STEP,
  "broker-left": STOP_STEP,
  "http-stopped": STOP_STEP,
};

export const CRASH_SITES: Record<string, CrashSites> = {
  "order-service": {
    "placed-before-commit": "<gap> return accepted;",
    "stored-before-answer": '<gap> log.debug("order_placed"',
    "published-before-confirm": "<sent> const results = await Promise.allSettled(publishing);",
    "confirmed-before-mark": "const results = await Promise.allSettled(publishing); <gap>",
    marked: "await store.commit(() => outbox.markSent(sent)); <gap>",
    "declared-before-consuming": "<gap> consumer = await consumeBatches(",
    "refused-before-reject": "<gap> await giveUp(channel, message);",
    rejected: "await giveUp(channel, message); <sent>",
    "advanced-before-commit":
      "orders.advance(data.order_id, STATUS_AFTER[type], time, reason); } <gap>",
    "advanced-before-ack": "<gap> acknowledge(channel, work);",
    acked: "acknowledge(channel, work); <sent>",
    "intake-ended": STOP_STEP,
    "consumer-stopped": STOP_STEP,
    "outbox-ended": STOP_STEP,
    "broker-left": STOP_STEP,
  },
  "inventory-service": {
    ...CONSUMER,
    "opened-before-listening": "inventory.open(config.openingStock)); <gap>",
    "decided-before-commit": '<gap> return { kind: "done", outcome: encodeEvent(answer) };',
    "stored-before-publish": "<gap> const publishing = answers.map(",
  },
  "notification-service": {
    ...CONSUMER,
    "told-before-commit": "<gap> const confirmation = causedEvent(",
    "stored-before-publish": "<gap> const publishing = sent.map(",
  },
};

const CLIENT = "async-rabbitmq/client.ts";
const CONSUMER_FILE = "async-rabbitmq/consumer.ts";
const PUBLISHER = "async-rabbitmq/publisher.ts";
const TOPOLOGY = "async-rabbitmq/topology.ts";

export const PROTECTIONS: Protections = {
  ...only(
    "commit-before-answer",
    "idempotency-key",
    "stock-check",
    "idempotent-reserve",
    "idempotent-send",
    "outbox",
    "ledger",
    "forward-only",
    "patience",
  ),
  /** Published is what the broker has confirmed. */
  confirms: [
    {
      file: PUBLISHER,
      passage: "this.#waiting.set(one, Date.now());",
      instead: "this.#waiting.set(one, Date.now()); resolve();",
    },
  ],
  /** What no queue takes comes back, and is sent again. */
  mandatory: [{ file: PUBLISHER, passage: "mandatory: true", instead: "mandatory: false" }],
  /** Queues and messages survive their broker. */
  "durable-queue": [
    { file: PUBLISHER, passage: "persistent: true", instead: "persistent: false" },
    { file: TOPOLOGY, passage: "arguments: queueArguments(queue)", instead: "arguments: {}" },
  ],
  /** A message is acknowledged after the work. Without it the queue is consumed with noAck, and `ack` and `reject` do nothing: RabbitMQ closes the channel over a second ack. */
  "ack-after-commit": [
    {
      file: CONSUMER_FILE,
      passage: "routeDeadLetters(channel, publisher, queue);",
      instead:
        "routeDeadLetters(channel, publisher, queue); Object.assign(channel, { ack() {}, reject() {} });",
    },
    { file: CONSUMER_FILE, passage: "{ noAck: false }", instead: "{ noAck: true }" },
    {
      file: CONSUMER_FILE,
      passage: "let consuming = consume(1);",
      instead: "let consuming = consume(PREFETCH);",
    },
  ],
  /** A multiple-ack must not include deliveries that wait to be requeued. */
  "ack-own-work": [
    {
      file: CLIENT,
      passage: "if (pendingRequeues.get(channel)) for (const",
      instead: "if (false) for (const",
    },
  ],
  /** A message is dead-lettered after a limited number of attempts. */
  "delivery-limit": [
    { file: CLIENT, passage: "if (attempt >= MAX_ATTEMPTS) {", instead: "if (false) {" },
    {
      file: TOPOLOGY,
      passage: '"x-delivery-limit": BROKERS_LIMIT,',
      instead: '"x-delivery-limit": 1_000_000_000,',
    },
  ],
  /** What is given up becomes a dead letter. */
  "dead-letter": [
    {
      file: PUBLISHER,
      passage: "const { content, properties } = message;",
      instead: "return; const { content, properties } = message;",
    },
    { file: TOPOLOGY, passage: '"x-dead-letter-exchange": "",', instead: "" },
    { file: TOPOLOGY, passage: '"x-dead-letter-routing-key": deadQueue(queue),', instead: "" },
    { file: TOPOLOGY, passage: '"x-dead-letter-strategy": "at-least-once",', instead: "" },
  ],
};
