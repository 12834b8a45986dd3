/** The log loses records or begins anew, Analytics loses its database, somebody resets its group: are its metrics right, and does it say what is gone? */
import { rmSync } from "node:fs";
import { violations } from "@lab/lab/check/checker";
import { experiment } from "@lab/lab/experiment/experiment";
import { fetchHealth } from "@lab/lab/services/health";
import { kafkaClient, withAdmin } from "@lab/lab/probes/kafka-tools";
import { describeGroup } from "@lab/lab/probes/lag";
import { noteCounts } from "@lab/proof/common";
import {
  beginReplay,
  fetchMetrics,
  fetchReplay,
  type ShownMetrics,
  type ShownReplay,
  sumOf,
} from "@lab/lab/probes/replay";
import { setFaults } from "@lab/lab/services/set-faults";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { eventually } from "@lab/lab/host/waiting";
import { type Gap, gapsInWords, recordsIn } from "@lab/store/gaps";
import { type Admin, ConfigResourceTypes } from "kafkajs";
import { setGroupOffsets } from "../../kafka/membership.ts";
import { PARTITIONS, topics } from "../../topics.ts";
import { allEnded } from "../campus.ts";

/** Orders at a time. */
const SOME = 30;

experiment(
  {
    name: "lost-log",
    model: "streaming-kafka",
    question:
      "The log loses records or begins anew, Analytics loses its database, somebody resets its group: are its metrics right, and does it say what is gone?",
    method:
      "Analytics' database is deleted while its group stands at the end of the log; its group is set to the end while records wait. Records are deleted (as kafka-delete-records does) while a replay is killed in the middle or runs, before a replay, and before they were read; a topic is deleted while all runs, and made anew. The topics' retention is set to a second.",
    disproof:
      "Metrics that don't count what the log had; a replay that swaps other metrics in unasked, or touches anything where it is refused; offsets that are gone and aren't named.",
    requirements: [],
  },
  async (run) => {
    await using trial = await trialOf(run, "lost");
    const operator = new Operator(trial);
    const { downstream } = trial.campus;
    const { url } = downstream;
    const { inventoryEvents, orderEvents } = topics(trial.namespace);

    run.progress("nothing to compute, and a retention of a second");
    run.holds(
      "a replay over nothing says that there is nothing",
      (await refusalOf(beginReplay(url))).includes("409 There is nothing to compute again"),
      true,
    );
    await operator.alter(orderEvents, { "retention.ms": "1000", "max.message.bytes": "2000000" });
    await eventually("records are kept again, and what else was set stays", async () => {
      const config = await operator.configOf(orderEvents);
      return config["retention.ms"] === "-1" && config["max.message.bytes"] === "2000000";
    });

    run.progress("its database is deleted, its group stands at the end");
    await order(trial);
    await trial.settle();
    await downstream.stop();
    for (const end of ["", "-wal", "-shm"]) rmSync(`${downstream.database}${end}`, { force: true });
    await downstream.restart();
    await trial.settle();
    run.progress("its group is set to the end, where records wait");
    await downstream.stop();
    await order(trial);
    await operator.resetToEnd();
    await downstream.restart();
    await trial.settle();
    const verdict = await trial.verdict();
    run.holds("the checker finds nothing illegal", violations(verdict), {});
    run.holds("all are counted", (await fetchMetrics(url)).metrics.placed, 2 * SOME);

    run.progress("records are deleted while a replay is killed");
    const before = await fetchMetrics(url);
    await setFaults(downstream, { throttle_ms: 50 });
    await beginReplay(url);
    await eventually("it is under way", async () => {
      const { positions, reset_to } = await fetchReplay(url);
      return reset_to !== null && sumOf(positions) > 0;
    });
    await downstream.kill();
    const cut = await operator.deleteRecords(orderEvents, PARTITIONS);
    await downstream.restart();
    const other = await replayEnds(trial);
    const kept = await fetchMetrics(url);
    run.holds(
      "what it finds is kept beside the live metrics, which stay",
      { state: other.state, equal: other.equal, live: kept.digest, generation: kept.generation },
      { state: "different", equal: false, live: before.digest, generation: before.generation },
    );
    run.holds("what is gone is named", named(kept.gaps), cut);

    run.progress("a replay after that");
    await downstream.healthy();
    const group = await operator.group();
    const refusal = await refusalOf(beginReplay(url));
    const places = cut.map((gone) => gapsInWords([gone]));
    run.holds(
      "it is refused, with the offsets that are gone",
      { status: / 409 /.test(refusal), unnamed: places.filter((one) => !refusal.includes(one)) },
      { status: true, unnamed: [] },
    );
    run.holds("the group is untouched", await operator.group(), group);
    run.holds("nothing is swapped", (await fetchMetrics(url)).generation, before.generation);
    await beginReplay(url, true);
    const { state } = await replayEnds(trial);
    const { gaps, metrics } = await fetchMetrics(url);
    run.holds(
      "accepted as it is, it becomes what the log has",
      { state, gaps, placed: metrics.placed },
      { state: "live", gaps: [], placed: 0 },
    );

    run.progress("a topic is deleted, and made anew");
    await downstream.healthy();
    await order(trial);
    await placedIs(trial, SOME);
    await operator.deleteTopic(orderEvents);
    await eventually(
      "the old log's offsets are named",
      async () => recordsIn((await fetchMetrics(url)).gaps) === SOME,
    );
    await order(trial);
    const anew = await placedIs(trial, 2 * SOME);

    run.progress("records are deleted before they were read");
    await downstream.stop();
    await order(trial);
    const read = anew.offsets[orderEvents] ?? {};
    const [unread] = await operator.deleteRecords(orderEvents, 1);
    await downstream.restart();
    await downstream.healthy();
    const from = read[unread?.partition ?? 0] ?? 0;
    const lacking = await eventually("they are named", async () => {
      const shown = await fetchMetrics(url);
      return shown.gaps.some(({ counted }) => !counted) && shown;
    });
    run.holds(
      "what was never read is told from what was",
      named(lacking.gaps.slice(anew.gaps.length)),
      [
        { ...unread, to: from },
        { ...unread, from, counted: false },
      ].filter((gone) => (gone.from ?? 0) < gone.to!),
    );
    await placedIs(trial, 3 * SOME - ((unread?.to ?? 0) - from));
    const { owed } = await fetchHealth(url);
    run.holds("health says how many are gone", owed["gaps"]?.count, recordsIn(lacking.gaps));

    run.progress("all records are deleted while a replay runs");
    await setFaults(downstream, { throttle_ms: 50 });
    await beginReplay(url, true);
    await eventually(
      "its group is set back",
      async () => (await fetchReplay(url)).reset_to !== null,
    );
    await operator.deleteRecords(orderEvents, PARTITIONS);
    await operator.deleteRecords(inventoryEvents, PARTITIONS);
    await setFaults(downstream, {});
    run.holds("it ends, with nothing left to read", (await replayEnds(trial)).state, "live");
    const { placed } = (await fetchMetrics(url)).metrics;
    await order(trial);
    await placedIs(trial, placed + SOME);
    noteCounts(run, [verdict], { kills: 1, faults: 8 });
  },
);

/** Places so many, and waits for their end, whether Analytics runs or not. */
async function order(trial: Trial): Promise<void> {
  for (let n = 0; n < SOME; n += 1) await trial.send();
  await allEnded(trial.campus);
}

function placedIs(trial: Trial, count: number): Promise<ShownMetrics> {
  return eventually(`${count} orders are counted`, async () => {
    const shown = await fetchMetrics(trial.campus.downstream.url);
    if (shown.metrics.placed !== count) throw new Error(`${shown.metrics.placed} are`);
    return shown;
  });
}

function replayEnds({ campus }: Trial): Promise<ShownReplay> {
  return eventually("the replay has ended", async () => {
    const replay = await fetchReplay(campus.downstream.url);
    return replay.finished_at !== null && replay;
  });
}

/** What it says where it isn't done; empty where it is. */
function refusalOf(work: Promise<unknown>): Promise<string> {
  return work.then(
    () => "",
    (error: Error) => error.message,
  );
}

/** Offsets that are gone, without the time at which that was noticed. */
type Gone = Omit<Gap, "noticed_at">;

function named(gaps: readonly Gap[]): Gone[] {
  return gaps
    .map(({ noticed_at: _noticedAt, ...gone }) => gone)
    .toSorted((a, b) => a.partition - b.partition || a.from - b.from);
}

/** Does to Kafka by hand what its operators do. */
class Operator {
  readonly #brokers: string;
  readonly #group: string;
  readonly #sources: string[];

  constructor({ broker, namespace }: Trial) {
    const { analyticsGroup, inventoryEvents, orderEvents } = topics(namespace);
    this.#brokers = broker.address;
    this.#group = analyticsGroup;
    this.#sources = [orderEvents, inventoryEvents];
  }

  #do<T>(work: (admin: Admin) => Promise<T>): Promise<T> {
    return withAdmin(this.#brokers, work);
  }

  group() {
    return this.#do((admin) => describeGroup(admin, this.#group));
  }

  resetToEnd(): Promise<void> {
    return this.#do(async (admin) => {
      const offsets = [];
      for (const topic of this.#sources) {
        for (const { high: offset, partition } of await admin.fetchTopicOffsets(topic)) {
          offsets.push({ topic, partition, offset });
        }
      }
      await setGroupOffsets(kafkaClient(this.#brokers), admin, this.#group, offsets);
    });
  }

  /** Deletes all records of the first `most` partitions that have some; gives what is gone. */
  deleteRecords(topic: string, most: number): Promise<Gone[]> {
    return this.#do(async (admin) => {
      const ends = (await admin.fetchTopicOffsets(topic))
        .map(({ high, low, partition }) => ({ partition, from: Number(low), to: Number(high) }))
        .filter(({ from, to }) => from < to)
        .toSorted((a, b) => a.partition - b.partition)
        .slice(0, most);
      const partitions = ends.map(({ partition, to }) => ({ partition, offset: String(to) }));
      await admin.deleteTopicRecords({ topic, partitions });
      return ends.map((gone) => ({ topic, ...gone, counted: true }));
    });
  }

  deleteTopic(topic: string): Promise<void> {
    return this.#do((admin) => admin.deleteTopics({ topics: [topic] }));
  }

  alter(name: string, config: Record<string, string>): Promise<unknown> {
    const configEntries = Object.entries(config).map(([key, value]) => ({ name: key, value }));
    const resources = [{ type: ConfigResourceTypes.TOPIC, name, configEntries }];
    return this.#do((admin) => admin.alterConfigs({ validateOnly: false, resources }));
  }

  configOf(name: string): Promise<Record<string, string>> {
    const resources = [{ type: ConfigResourceTypes.TOPIC, name }];
    return this.#do(async (admin) => {
      const described = await admin.describeConfigs({ includeSynonyms: false, resources });
      const entries = described.resources[0]?.configEntries ?? [];
      return Object.fromEntries(entries.map((one) => [one.configName, one.configValue]));
    });
  }
}
