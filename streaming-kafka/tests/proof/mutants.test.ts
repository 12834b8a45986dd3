/** Each protection of the streaming model taken away, in a situation that needs it: does the checker find what that breaks? */
import { produceRaw, readTopic, withAdmin } from "@lab/lab/kafka-tools";
import { describeGroup, totalLag } from "@lab/lab/lag";
import {
  alike,
  ASKED_TWICE,
  kill,
  killedUnderLoad,
  publishSome,
  restartBroker,
  sendSome,
  setFaults,
  type Situation,
  testMutants,
} from "@lab/lab/proof/mutants";
import { beginReplay, fetchReplay } from "@lab/lab/replay";
import type { Trial } from "@lab/lab/trial";
import { eventually, settled } from "@lab/lab/waiting";
import { topics } from "../../topics.ts";

const KILLED_WITH_RECORDS: Situation = {
  title: "Inventory is killed with records in hand",
  happen: alike(async (subject) => {
    const { inventory } = subject.trial.campus;
    await setFaults(subject, inventory, { hang: true });
    await publishSome(subject);
    await eventually("Inventory has what it gets", () =>
      settled("its lag", () => inventoryLag(subject.trial)),
    );
    await kill(subject, inventory);
    await inventory.restart();
  }),
  mutants: [{ without: "ack-after-commit", breaks: ["lost"] }],
};

/** As a producer does that has missed the broker's word. */
const WRITTEN_TWICE: Situation = {
  title: "every record is written twice",
  happen: alike(async (subject) => {
    const { trial } = subject;
    const { address } = trial.broker;
    const names = topics(trial.namespace);
    await sendSome(subject);
    await trial.settle();
    for (const topic of [names.orderEvents, names.inventoryEvents]) {
      const records = await readTopic(address, topic);
      subject.struck.faults += records.length;
      await produceRaw(
        address,
        topic,
        records.map(({ partition, value }) => ({ partition, value })),
      );
    }
  }),
  mutants: [
    { without: "ledger", breaks: [], heldBy: "idempotent-reserve" },
    { without: "idempotent-reserve", breaks: [], heldBy: "ledger" },
    { without: "ledger,idempotent-reserve", breaks: ["unbalanced"] },
    { without: "deduplication", breaks: ["miscounted"] },
  ],
};

const READ_TWICE: Situation = {
  title: "Analytics' group is forgotten, and reads all again",
  happen: alike(async (subject) => {
    const { trial } = subject;
    const { third: analytics } = trial.campus;
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
    { without: "stored-offset", breaks: [], heldBy: "deduplication" },
    { without: "deduplication", breaks: [], heldBy: "stored-offset" },
    { without: "stored-offset,deduplication", breaks: ["miscounted"] },
  ],
};

const REPLAYED_LATER: Situation = {
  title: "the log is replayed in another minute, while orders come",
  happen: alike(async (subject) => {
    const { third: analytics } = subject.trial.campus;
    await sendSome(subject);
    await subject.trial.settle();
    const minute = () => new Date().getUTCMinutes();
    const before = minute();
    await eventually("the next minute", () => minute() !== before, { timeoutMs: 61_000 });
    await setFaults(subject, analytics, { throttle_ms: 20 });
    // It is refused while Analytics has no place in its group, as on a machine that is out of breath.
    await eventually("a replay begins", () => beginReplay(analytics.url).then(() => true));
    await sendSome(subject);
    await eventually("the replay ends", async () => (await fetchReplay(analytics.url)).finished_at);
    await setFaults(subject, analytics, {});
  }),
  mutants: [
    { without: "event-time", breaks: ["unequal"] },
    { without: "replay-end", breaks: ["unequal"] },
  ],
};

const FAILS_FOR_EVER: Situation = {
  title: "Inventory fails at every record",
  happen: alike(async (subject) => {
    const { inventory } = subject.trial.campus;
    await setFaults(subject, inventory, { fail_rate: 1 });
    await sendSome(subject);
    await eventually("all are given up, or one is not", async () => {
      const log = await Bun.file(inventory.logFile).text();
      return log.includes('"attempt":6') || (await inventoryLag(subject.trial)) === 0;
    });
  }),
  mutants: [
    { without: "delivery-limit", breaks: ["lost", "endless"] },
    { without: "dead-letter", breaks: ["lost"] },
  ],
};

const BROKER_KILLED: Situation = {
  title: "Kafka is killed with records on their way, and Order as well",
  async happen(subjects, broker) {
    // With the first orders the producer learns where the topic is.
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
    { without: "outbox", breaks: ["lost", "miscounted"] },
    { without: "confirms", breaks: ["lost", "miscounted"] },
  ],
};

function inventoryLag({ broker, namespace }: Trial): Promise<number> {
  return withAdmin(broker.address, async (admin) =>
    totalLag(await describeGroup(admin, topics(namespace).inventoryGroup)),
  );
}

testMutants({
  model: "streaming-kafka",
  timeoutS: 400,
  lanes: [
    [REPLAYED_LATER],
    [KILLED_WITH_RECORDS, FAILS_FOR_EVER],
    [WRITTEN_TWICE, READ_TWICE, ASKED_TWICE, killedUnderLoad(["lost", "leaked", "miscounted"])],
  ],
  afterwards: [BROKER_KILLED],
});
