/** Each protection of the streaming model taken away, in a situation that needs it: does the checker find what that breaks? */
import { produceRaw, readTopic, withAdmin } from "@lab/lab/probes/kafka-tools";
import { describeGroup, totalLag } from "@lab/lab/probes/lag";
import {
  alike,
  ASKED_TWICE,
  dieAt,
  kill,
  killedUnderLoad,
  type MutantSituation,
  publishSome,
  restartBroker,
  SCARCE,
  sendSome,
  setFaults,
  ORDER_COUNT,
  type Subject,
  testMutants,
} from "@lab/proof/kills/mutants";
import { beginReplay, fetchReplay } from "@lab/lab/probes/replay";
import type { Trial } from "@lab/lab/experiment/trial";
import { eventually, settled } from "@lab/lab/host/waiting";
import { topics } from "../../topics.ts";

const KILLED_WITH_RECORDS: MutantSituation = {
  title: "Inventory and Analytics are killed with records in hand",
  happen: alike(async (subject) => {
    const { trial } = subject;
    const { inventory, downstream: analytics } = trial.campus;
    const { analyticsGroup, inventoryGroup } = topics(trial.namespace);
    for (const service of [inventory, analytics]) await setFaults(subject, service, { hang: true });
    await publishSome(subject);
    await eventually("both have what they get", () =>
      settled("their lag", () =>
        Promise.all([lagOf(trial, inventoryGroup), lagOf(trial, analyticsGroup)]),
      ),
    );
    for (const service of [inventory, analytics]) {
      await kill(subject, service);
      await service.restart();
    }
  }),
  // A consumer that commits first loses the batches that it holds, one for each partition.
  // Analytics reads on from where its own database stands.
  mutants: [
    { without: "ack-after-commit", breaks: { lost: "any" } },
    { without: "ack-after-commit,stored-offset", breaks: { lost: "any", miscounted: "any" } },
  ],
};

/** What Analytics counts of one kind of event: all of them, and those of each kitchen. */
const COUNTS = 1 + ORDER_COUNT;

const DIES_OF_OUTCOMES: MutantSituation = {
  title: "Order dies with outcomes in hand",
  happen: alike(async (subject) => {
    const { inventory, order } = subject.trial.campus;
    await setFaults(subject, inventory, { hang: true });
    await publishSome(subject);
    await dieAt(subject, order, "advanced-before-commit", () => setFaults(subject, inventory, {}));
  }),
  // Analytics counts those that Order never hears of.
  mutants: [{ without: "ack-after-commit", breaks: { lost: "any", miscounted: "any" } }],
};

const WRITTEN_TWICE: MutantSituation = {
  title: "every record is written twice",
  happen: alike(async (subject) => {
    const { trial } = subject;
    const { inventoryEvents, orderEvents } = topics(trial.namespace);
    await sendSome(subject);
    await trial.settle();
    for (const topic of [orderEvents, inventoryEvents]) await writeAgain(subject, topic);
  }),
  mutants: [
    { without: "ledger", breaks: {}, heldBy: "idempotent-reserve" },
    { without: "idempotent-reserve", breaks: {}, heldBy: "ledger" },
    { without: "ledger,idempotent-reserve", breaks: { unbalanced: ORDER_COUNT } },
    { without: "deduplication", breaks: { miscounted: 2 * COUNTS } },
  ],
};

const SOLD_OUT_MEANWHILE: MutantSituation = {
  title: "every order is written twice, and the second time there is nothing left",
  env: { OPENING_STOCK: "1" },
  happen: alike(async (subject) => {
    const { trial } = subject;
    await sendSome(subject);
    await trial.settle();
    await writeAgain(subject, topics(trial.namespace).orderEvents);
  }),
  mutants: [
    { without: "forward-only", breaks: {}, heldBy: "ledger and idempotent-reserve" },
    {
      without: "ledger,idempotent-reserve,forward-only",
      breaks: {
        resurrected: ORDER_COUNT,
        contradicted: ORDER_COUNT,
        unbalanced: ORDER_COUNT,
        // Those that failed also by their reason.
        miscounted: 2 * COUNTS + 1,
      },
    },
  ],
};

/** As after a lost acknowledgement of the broker. */
async function writeAgain({ struck, trial }: Subject, topic: string): Promise<void> {
  const { address } = trial.broker;
  const records = await readTopic(address, topic);
  struck.faults += records.length;
  const again = records.map(({ partition, value }) => ({ partition, value }));
  await produceRaw(address, topic, again);
}

const READ_TWICE: MutantSituation = {
  title: "Analytics' group is forgotten, and reads all again",
  happen: alike(async (subject) => {
    const { trial } = subject;
    const { downstream: analytics } = trial.campus;
    await sendSome(subject);
    await trial.settle();
    await analytics.stop();
    subject.struck.faults += 1;
    await withAdmin(trial.broker.address, (admin) =>
      admin.deleteGroups([topics(trial.namespace).analyticsGroup]),
    );
    await analytics.restart();
  }),
  mutants: [
    { without: "stored-offset", breaks: {}, heldBy: "deduplication" },
    { without: "deduplication", breaks: {}, heldBy: "stored-offset" },
    { without: "stored-offset,deduplication", breaks: { miscounted: 2 * COUNTS } },
  ],
};

const REPLAYED_LATER: MutantSituation = {
  title: "the log is replayed in another minute, while orders come",
  // `happen` waits for the next minute: services that started earlier would only idle.
  ready: () =>
    eventually("the minute is nearly over", () => new Date().getUTCSeconds() >= 35, {
      timeoutMs: 61_000,
    }),
  happen: alike(async (subject) => {
    const { downstream: analytics } = subject.trial.campus;
    await sendSome(subject);
    await subject.trial.settle();
    const minute = () => new Date().getUTCMinutes();
    const before = minute();
    await eventually("the next minute", () => minute() !== before, { timeoutMs: 61_000 });
    await setFaults(subject, analytics, { throttle_ms: 20 });
    // A replay is refused until Analytics is a member of its group, which takes longer on a busy machine.
    await eventually("a replay begins", () => beginReplay(analytics.url).then(() => true));
    await sendSome(subject);
    await eventually("the replay ends", async () => (await fetchReplay(analytics.url)).finished_at);
    await setFaults(subject, analytics, {});
  }),
  mutants: [
    { without: "event-time", breaks: { unequal: 1 } },
    { without: "replay-end", breaks: { unequal: 1 } },
  ],
};

const CUT_BEFORE_REPLAY: MutantSituation = {
  title: "records are deleted from the log, and a replay is asked for",
  happen: alike(async (subject) => {
    const { struck, trial } = subject;
    const { url } = trial.campus.downstream;
    const { orderEvents: topic } = topics(trial.namespace);
    await sendSome(subject);
    await trial.settle();
    struck.faults += 1;
    await withAdmin(trial.broker.address, async (admin) => {
      const ends = await admin.fetchTopicOffsets(topic);
      const partitions = ends.map(({ high, partition }) => ({ partition, offset: high }));
      await admin.deleteTopicRecords({ topic, partitions });
    });
    const isRefused = (error: Error) => {
      if (error.message.includes("The log no longer has")) return { begun: false };
      throw error;
    };
    const { begun } = await eventually("a replay begins, or is refused for good", () =>
      beginReplay(url).then(() => ({ begun: true }), isRefused),
    );
    if (begun) await eventually("it ends", async () => (await fetchReplay(url)).finished_at);
  }),
  mutants: [
    { without: "equal-swap", breaks: {}, heldBy: "whole-log" },
    { without: "whole-log", breaks: { unequal: 1 } },
    // Of what Analytics counts of an order that was placed, nothing is left.
    {
      without: "whole-log,equal-swap",
      breaks: { unequal: 1, miscounted: COUNTS, worsened: COUNTS },
    },
  ],
};

const FAILS_FOR_EVER: MutantSituation = {
  title: "Inventory fails at every record",
  dead: ORDER_COUNT,
  happen: alike(async (subject) => {
    const { trial } = subject;
    const { inventory } = trial.campus;
    await setFaults(subject, inventory, { fail_rate: 1 });
    await sendSome(subject);
    await eventually("all are given up, or one is not", async () => {
      const log = await Bun.file(inventory.logFile).text();
      return (
        log.includes('"attempt":6') ||
        (await lagOf(trial, topics(trial.namespace).inventoryGroup)) === 0
      );
    });
  }),
  mutants: [
    { without: "delivery-limit", breaks: { lost: ORDER_COUNT, endless: "any" } },
    { without: "dead-letter", breaks: { lost: ORDER_COUNT } },
  ],
};

const BROKER_KILLED: MutantSituation = {
  title: "Kafka is killed with records on their way, and Order as well",
  async happen(subjects, broker) {
    // The first orders make the producer fetch the topic's metadata.
    await alike(publishSome)(subjects);
    // It reads nothing any more: the records wait in its socket.
    await broker.pause();
    await alike(async (subject) => {
      await publishSome(subject);
      await kill(subject, subject.trial.campus.order);
    })(subjects);
    await restartBroker(subjects, broker);
    await alike(({ trial }) => trial.campus.order.restart())(subjects);
  },
  mutants: [
    { without: "outbox", breaks: { lost: ORDER_COUNT, miscounted: COUNTS } },
    { without: "confirms", breaks: { lost: ORDER_COUNT, miscounted: COUNTS } },
  ],
};

function lagOf({ broker }: Trial, group: string): Promise<number> {
  return withAdmin(broker.address, async (admin) => totalLag(await describeGroup(admin, group)));
}

testMutants({
  model: "streaming-kafka",
  // A group may be without a member for its session's 6 s.
  stuckMs: 7_000,
  first: [BROKER_KILLED],
  lanes: [
    [REPLAYED_LATER],
    [KILLED_WITH_RECORDS, FAILS_FOR_EVER, CUT_BEFORE_REPLAY],
    [
      DIES_OF_OUTCOMES,
      SOLD_OUT_MEANWHILE,
      SCARCE,
      killedUnderLoad("Inventory", { contradicted: "any" }),
    ],
    [
      WRITTEN_TWICE,
      READ_TWICE,
      ASKED_TWICE,
      killedUnderLoad("Order", { lost: "any", leaked: "any", miscounted: "any" }),
    ],
  ],
});
