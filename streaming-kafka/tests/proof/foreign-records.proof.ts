/** Records as other programs write them: compressed, in transactions, and some that can't be read at all. */
import { zstdCompressSync } from "node:zlib";
import { encodeEvent, newEvent } from "@lab/contracts/events";
import { newId } from "@lab/contracts/ids";
import { experiment } from "@lab/lab/experiment/experiment";
import { fetchHealth } from "@lab/lab/services/health";
import { kafkaClient, readTopic, withAdmin } from "@lab/lab/probes/kafka-tools";
import { describeGroup } from "@lab/lab/probes/lag";
import { noteCounts } from "@lab/proof/common";
import { beginReplay, fetchMetrics, fetchReplay } from "@lab/lab/probes/replay";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { eventually } from "@lab/lab/host/waiting";
import { CompressionCodecs, CompressionTypes, Partitioners } from "kafkajs";
import { topics } from "../../topics.ts";
import { groupsOf } from "../model.ts";

// What kafkajs needs to write it; the services read it with their own.
CompressionCodecs[CompressionTypes.ZSTD] = () => ({
  compress: async ({ buffer }: { buffer: Buffer }) => zstdCompressSync(buffer),
});

/** More than a batch may be when it is unpacked. */
const BOMB_BYTES = 20 * 1024 * 1024;
/** As much as a broker takes. */
const KEY_BYTES = 1_000_000;
const createPartitioner = Partitioners.DefaultPartitioner;

experiment(
  {
    name: "foreign-records",
    model: "streaming-kafka",
    question:
      "Other programs compress their records, write them in transactions, and send what can't be read: does every group come to the end of the log, and does anything stand still unseen?",
    method: `Orders in zstd and gzip; a transaction that is committed, two aborted ones that overlap, one that is left open for a while; and behind them a record of ${BOMB_BYTES} bytes that a few kilobytes unpack to, and one with a key of ${KEY_BYTES} bytes.`,
    disproof:
      "A lag that stays. An aborted order that is reserved. A partition that holds up another. Health 200 over a partition that can't move.",
    requirements: [],
    parameters: { bomb_bytes: BOMB_BYTES, key_bytes: KEY_BYTES },
  },
  async (run) => {
    await using trial = await trialOf(run, "foreign");
    const { broker, campus, namespace } = trial;
    const { orderEvents } = topics(namespace);
    const kafka = kafkaClient(broker.address);
    const producer = kafka.producer({ createPartitioner });
    await producer.connect();
    const write = (partition: number, count: number, compression = CompressionTypes.None) =>
      producer.send({ topic: orderEvents, compression, messages: orders(partition, count) });

    run.progress("compressed records");
    await write(0, 10, CompressionTypes.ZSTD);
    await write(0, 10, CompressionTypes.GZIP);

    run.progress("transactions: one good, two in vain, one open");
    const begin = async () => {
      const transactionalId = `${namespace}${newId()}`;
      const own = kafka.producer({ createPartitioner, transactionalId, maxInFlightRequests: 1 });
      await own.connect();
      const transaction = await own.transaction();
      return {
        send: (partition: number) =>
          transaction.send({ topic: orderEvents, messages: orders(partition, 3) }),
        async end(how: "abort" | "commit") {
          await transaction[how]();
          await own.disconnect();
        },
      };
    };
    const [good, early, late, open] = await Promise.all([begin(), begin(), begin(), begin()]);
    await good.send(1);
    await early.send(2);
    await late.send(2);
    await late.end("abort");
    await early.end("abort");
    await good.end("commit");
    await open.send(3);
    await write(3, 5);
    await eventually("the open transaction is seen", async () => {
      const { owed } = await fetchHealth(campus.inventory.url);
      return owed["standing_records"]?.count === 8;
    });
    await open.end("commit");
    await atEnd(trial, 31);
    const caughtUp = { inventory: 0, analytics: 0, "order-status": 0 };
    run.holds(
      "every group is at the end of the log, behind the markers too",
      await lags(trial),
      caughtUp,
    );

    run.progress("a replay ends behind a marker, too");
    await beginReplay(campus.downstream.url);
    const { equal } = await eventually("the replay ends", async () => {
      const replay = await fetchReplay(campus.downstream.url);
      return replay.finished_at !== null && replay;
    });
    run.holds("the replay is equal", equal, true);

    run.progress("a record that can't be unpacked");
    await producer.send({
      topic: orderEvents,
      compression: CompressionTypes.ZSTD,
      messages: [{ partition: 4, value: Buffer.alloc(BOMB_BYTES) }],
    });
    const named = `${orderEvents}/4: stands at offset 0: it can't be unpacked (zstd): it is longer than 16777216 bytes`;
    const said = await eventually("both readers name it", async () => {
      const health = await Promise.all([campus.inventory, campus.downstream].map(problemsOf));
      return health.every(({ problems }) => problems.length > 0) && health;
    });
    const down = { status: "down", problems: [named] };
    run.holds("no health of 200 over a partition that can't move", said, [down, down]);
    await write(5, 10);
    await atEnd(trial, 41);
    const behind = { inventory: 1, analytics: 1, "order-status": 0 };
    run.holds("it holds up no other partition", await lags(trial), behind);

    run.progress("somebody deletes it");
    await withAdmin(broker.address, async (admin) => {
      await admin.fetchTopicOffsets(orderEvents);
      const partitions = [{ partition: 4, offset: "1" }];
      await admin.deleteTopicRecords({ topic: orderEvents, partitions });
    });
    await eventually("nobody stands any more", async () => {
      const healths = await Promise.all(campus.services.map(problemsOf));
      return healths.every(({ status }) => status === "up");
    });
    run.holds("with nothing behind it the lag is 0", await lags(trial), caughtUp);
    await trial.settle();
    const dead = await readTopic(broker.address, topics(namespace).deadLetters);
    run.holds("no dead letters", dead, []);

    run.progress("a record with a huge key");
    const odd = { partition: 5, key: Buffer.alloc(KEY_BYTES, "k"), value: "no event" };
    await producer.send({ topic: orderEvents, messages: [odd] });
    const letters = await eventually("it is dead", async () => {
      const letters = await readTopic(broker.address, topics(namespace).deadLetters);
      return letters.length > 0 && letters;
    });
    const keys = letters.map(({ key }) => key?.length);
    run.holds("a record with a huge key is dead, and holds nobody up", keys, [KEY_BYTES]);
    // These orders nobody has placed here: the checker knows nothing of them.
    noteCounts(run, [], { kills: 0, faults: 8 });
    await producer.disconnect();
  },
);

function orders(partition: number, count: number) {
  return Array.from({ length: count }, () => {
    const items = [{ sku: "burger", qty: 1 }];
    const data = { order_id: newId(), user_id: "u1", kitchen: "main", items };
    const value = encodeEvent(newEvent("OrderPlaced", "order-producer", data));
    return { partition, key: "main", value };
  });
}

/** Waits until that many orders are counted, and all groups stand still. */
async function atEnd({ campus }: Trial, count: number): Promise<void> {
  await eventually(`${count} orders are placed and reserved`, async () => {
    const { failed, placed, reserved } = (await fetchMetrics(campus.downstream.url)).metrics;
    if (placed !== count || reserved !== count || failed > 0) {
      throw new Error(`${placed}, ${reserved}, ${failed} failed`);
    }
    return true;
  });
}

/** How far each group is behind; waits for the last commits. */
async function lags({ broker, namespace }: Trial): Promise<Record<string, number>> {
  let last = "";
  return eventually(
    "the lags stand still",
    async () => {
      const all = await withAdmin(broker.address, async (admin) => {
        const groups = groupsOf(namespace);
        return Promise.all(groups.map((group) => describeGroup(admin, group)));
      });
      const shown = all.map((rows) => [
        rows[0]?.group.slice(namespace.length),
        rows.reduce((sum, { lag, log_end_offset: end }) => sum + (lag ?? end), 0),
      ]);
      const before = last;
      last = JSON.stringify(shown);
      return last === before && Object.fromEntries(shown);
    },
    { everyMs: 500 },
  );
}

async function problemsOf({ url }: { url: string }) {
  const { problems, status } = await fetchHealth(url);
  return { status, problems };
}
