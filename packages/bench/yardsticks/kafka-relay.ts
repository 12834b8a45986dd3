/**
 * Yardstick: consume, produce, commit, with nothing in between.
 *
 *   bun kafka-relay.ts BROKERS TOPIC INTO GROUP COUNT BATCH
 *
 * Takes COUNT records of a topic in batches of at most BATCH, writes each to another topic with
 * acknowledgement, commits, and prints the records per second from the first batch on.
 */
import { Kafka, logLevel, Partitioners } from "kafkajs";

const [brokers = "", topic = "", into = "", groupId = "", count = "", batchSize = ""] =
  process.argv.slice(2);

process.removeAllListeners("warning");
const kafka = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.NOTHING });
const producer = kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner });
const consumer = kafka.consumer({ groupId, minBytes: 1 });
await Promise.all([producer.connect(), consumer.connect()]);
await consumer.subscribe({ topic, fromBeginning: true });
const done = Promise.withResolvers<void>();
let fromMs = 0;
let left = Number(count);
await consumer.run({
  autoCommit: false,
  eachBatchAutoResolve: false,
  partitionsConsumedConcurrently: 6,
  async eachBatch({ batch, heartbeat, resolveOffset }) {
    fromMs ||= performance.now();
    const { messages, partition } = batch;
    for (let from = 0; from < messages.length; from += Number(batchSize)) {
      const some = messages.slice(from, from + Number(batchSize));
      await producer.send({
        topic: into,
        acks: -1,
        messages: some.map(({ key, value }) => ({ key, value })),
      });
      const { offset } = some.at(-1)!;
      resolveOffset(offset);
      await consumer.commitOffsets([{ topic, partition, offset: String(Number(offset) + 1) }]);
      await heartbeat();
      left -= some.length;
    }
    if (left <= 0) done.resolve();
  },
});
await done.promise;
const perS = Number(count) / ((performance.now() - fromMs) / 1_000);
console.log(JSON.stringify({ event: "done", per_s: perS }));
// Leaving its group would wait for the fetch that is under way.
process.exit(0);
