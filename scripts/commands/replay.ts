import { withAdmin } from "@lab/lab/probes/kafka-tools";
import { describeGroup, lagTable } from "@lab/lab/probes/lag";
import {
  beginReplay,
  diffMetrics,
  fetchMetrics,
  fetchReplay,
  type ShownMetrics,
  type ShownReplay,
  sumOf,
} from "@lab/lab/probes/replay";
import { eventually } from "@lab/lab/host/waiting";
import { topics } from "../../streaming-kafka/topics.ts";
import { type Command, UsageError } from "../command.ts";
import { analyticsUrl, kafkaAddress } from "../stream.ts";
import { namespaceOf } from "../up/environment.ts";

/** A replay of millions of records takes minutes. */
const REPLAY_TIMEOUT_MS = 600_000;

export const command: Command = {
  summary: "compute the stream's metrics again from the start of the log",
  usage: "[--url URL] [--accept-different]",
  details: `Analytics leaves its group, sets the group's offsets back to the start of the log, and folds
it again up to the end offsets that it noted before. Shown are the metrics before, the offsets at
the reset, the metrics after, and what differs. Exit code 1 when they are not equal: then the old
ones stay, and what was computed is kept beside them, at GET /replay. It is refused where the log
has lost what the metrics were computed from. With --accept-different the metrics become what the
log has now, whatever that is.

Reads ANALYTICS_URL and KAFKA_BROKERS, or takes those of scripts/lab up.`,
  options: {
    url: { type: "string", summary: "of the analytics-consumer" },
    "accept-different": { type: "boolean", summary: "take what comes of it, equal or not" },
  },
  async run({ options, words }) {
    if (words.length > 0) throw new UsageError("replay takes no words");
    const given = options["url"];
    const url = typeof given === "string" ? given.replace(/\/$/, "") : await analyticsUrl();
    const brokers = await kafkaAddress();
    const { analyticsGroup: group } = topics(await namespaceOf("streaming-kafka"));
    return withAdmin(brokers, async (admin) => {
      const table = async () => lagTable(await describeGroup(admin, group));

      const before = await fetchMetrics(url);
      tell("Before", [describe(before), await table()]);

      await beginReplay(url, options["accept-different"] === true);
      const reset = await eventually(
        "the group's offsets are set back",
        async () => {
          const replay = await fetchReplay(url);
          return (replay.reset_to !== null || replay.state !== "replaying") && replay;
        },
        { timeoutMs: REPLAY_TIMEOUT_MS, everyMs: 5 },
      );
      tell("At the reset", [describeReset(reset), await table()]);

      const replay = await eventually(
        "the replay ends",
        async () => {
          const now = await fetchReplay(url);
          return now.state !== "replaying" && now;
        },
        { timeoutMs: REPLAY_TIMEOUT_MS, everyMs: 20 },
      );
      const after = await fetchMetrics(url);
      tell("After", [describe(after), await table()]);
      tell("Result", compare(before, replay, after));
      return replay.equal === true ? 0 : 1;
    });
  },
};

function tell(title: string, paragraphs: string[]): void {
  console.log(`== ${title}\n\n${paragraphs.join("\n\n")}\n`);
}

function describe({ digest, metrics, offsets, processing_time }: ShownMetrics) {
  const { failed, failure_rate, placed, reserved } = metrics;
  const minutes = Object.entries(metrics.orders_per_minute)
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([minute, n]) => `  ${minute}  ${n}`);
  return [
    `orders ${placed}, reserved ${reserved}, failed ${failed}, failure rate ${failure_rate}`,
    `orders per minute, by event time (mean ${metrics.mean_orders_per_minute}):`,
    // The last ones are enough.
    ...minutes.slice(-10),
    `orders per minute, by processing time: ${processing_time.orders_per_minute}`,
    `records folded ${sumOf(offsets)}`,
    `digest ${digest}`,
  ].join("\n");
}

function describeReset({ reset_to, targets }: ShownReplay): string {
  return [
    "the group's offsets were set back, all metrics are 0 again; topic, partition, offset, where the replay ends:",
    ...Object.entries(reset_to ?? {}).flatMap(([topic, partitions]) =>
      Object.entries(partitions).map(
        ([partition, offset]) =>
          `  ${topic}  ${partition}  ${offset}  ${targets[topic]?.[Number(partition)] ?? 0}`,
      ),
    ),
    "",
    "the group a moment later:",
  ].join("\n");
}

function compare(before: ShownMetrics, replay: ShownReplay, after: ShownMetrics): string[] {
  const isKept = replay.state === "different";
  // The replay's metrics, if they have not replaced the old ones.
  const differences = diffMetrics(before.metrics, isKept ? replay.metrics : after.metrics);
  const came = isKept ? 0 : sumOf(after.offsets) - sumOf(replay.targets);
  return [
    ...(isKept ? ["the old metrics stay; what was computed is kept beside them: GET /replay"] : []),
    `${replay.equal === true ? "EQUAL" : "DIFFERENT"}\n  before ${replay.digest_before}\n  after  ${replay.digest_after}`,
    differences.length === 0
      ? "no metric differs"
      : [
          came > 0
            ? `${came} records came since the replay began, and are in the metrics by now:`
            : "what differs:",
          ...differences.map((line) => `  ${line}`),
        ].join("\n"),
    `by processing time: ${before.processing_time.orders_per_minute} orders per minute before, ${after.processing_time.orders_per_minute} after: not equal, because it divides by the time that the reader took, and a replay reads as fast as it can.`,
  ];
}
