/** How Analytics recomputes its metrics from the start of the log, and replaces the old ones. */
import { Problem } from "@lab/contracts/problem";
import type { Faults } from "@lab/runtime/faults";
import type { Log } from "@lab/runtime/log";
import { type Analytics, covers, type Generation } from "@lab/store/analytics";
import { gapsInWords, type Positions } from "@lab/store/gaps";
import type { Store } from "@lab/store/store";
import { digestOf } from "@lab/workflow/metrics";
import type { LogWatch } from "./log-watch.ts";
import { setGroupOffsets } from "./kafka/membership.ts";
import type { Stream } from "./kafka/stream.ts";
import type { Topics } from "./topics.ts";

/** What Analytics' functions share. */
export interface Fold {
  analytics: Analytics;
  faults: Faults;
  log: Log;
  names: Topics;
  /** Makes the consumer read from the counters' positions. */
  readOn(): void;
  store: Store;
  stream: Stream;
  watch: LogWatch;
}

/** Guards against two replays that begin at once. */
const beginning = new WeakSet<Fold>();

/**
 * Leaves the group, and has `consume` fold the log again into a new generation; throws a `Problem`
 * where that isn't possible.
 */
export async function beginReplay(
  fold: Fold,
  { accept }: { accept?: "different" },
  consume: () => Promise<void>,
) {
  const { analytics, faults, log, stream } = fold;
  // An expensive operation that anyone could start: for the lab only, like faults.
  if (!faults.enabled) throw new Problem("not_found", "a replay needs LAB_FAULTS=on");
  // Checked first: a service that begins a replay leaves the group, and is no member for a while.
  if (beginning.has(fold) || analytics.replaying()) {
    throw new Problem("replay_in_progress", "see GET /replay");
  }
  if (!stream.isMember()) throw unavailable();
  beginning.add(fold);
  try {
    await refuseImpossible(fold, accept === "different");
    await leaveAndBegin(fold, accept === "different", consume);
  } finally {
    beginning.delete(fold);
  }
  const replay = analytics.replaying() as Generation;
  log.info("replay_started", { generation: replay.generation });
  return replayView(analytics, replay);
}

/** Refuses a replay that can't reproduce the metrics, before anything is changed. */
async function refuseImpossible({ analytics, watch }: Fold, isAccepted: boolean): Promise<void> {
  await watch.look().catch(() => {
    throw unavailable();
  });
  if (!analytics.hasCounted()) {
    throw new Problem("nothing_to_replay", "the metrics stand for no event yet");
  }
  const gone = analytics.gaps().filter(({ counted }) => counted);
  if (gone.length === 0 || isAccepted) return;
  throw new Problem("log_incomplete", `gone, and in the metrics: ${gapsInWords(gone)}`);
}

async function leaveAndBegin(
  { analytics, store, stream }: Fold,
  isAccepted: boolean,
  consume: () => Promise<void>,
): Promise<void> {
  try {
    // The broker refuses to set the offsets of a group that has members.
    await stream.consumer.stop();
    // Nothing is folded now: the stored targets match the metrics.
    await store.commit(() => analytics.beginReplay(isAccepted));
  } finally {
    stream.startAgain(consume);
  }
}

/**
 * Sets the group's offsets to a replay's positions: the start, or those that it had when it was
 * killed.
 */
export async function rewind(
  { analytics, names, store, stream }: Fold,
  { generation }: Generation,
): Promise<void> {
  const positions = analytics.positions(generation);
  const resetTo: Positions = {};
  const offsets = [];
  const admin = stream.kafka.admin();
  await admin.connect();
  try {
    for (const topic of [names.orderEvents, names.inventoryEvents]) {
      for (const { partition, low } of await admin.fetchTopicOffsets(topic)) {
        const offset = positions[topic]?.[partition] ?? Number(low);
        (resetTo[topic] ??= {})[partition] = offset;
        offsets.push({ topic, partition, offset: `${offset}` });
      }
    }
    await setGroupOffsets(stream.kafka, admin, names.analyticsGroup, offsets);
  } finally {
    await admin.disconnect();
  }
  await store.commit(() => analytics.noteReset(generation, resetTo));
}

/** Once every partition has reached the position of the old metrics: compare, and swap if equal. */
export async function finishReplay(
  { analytics, log, readOn, store }: Pick<Fold, "analytics" | "log" | "readOn" | "store">,
  { generation, targets }: Generation,
): Promise<void> {
  if (!covers(analytics.positions(generation), targets)) return;
  // A start, a batch and a check of the log may all find the end: the first of them swaps.
  const done = await store.commit(() => analytics.replaying() && analytics.endReplay());
  if (!done) return;
  log.info("replay_finished", { ...replayView(analytics, done) });
  readOn();
}

function replayView(analytics: Analytics, replay: Generation) {
  return {
    ...replay,
    gaps: analytics.gaps(replay.generation),
    equal: replay.digest_after && replay.digest_after === replay.digest_before,
    positions: analytics.positions(replay.generation),
  };
}

/** For `GET /replay`: the replay under way, or the last one. */
export function lastReplay(analytics: Analytics) {
  const replay = analytics.lastReplay();
  if (!replay) throw new Problem("not_found", "there was no replay yet");
  // The metrics so far: empty right after the reset.
  const metrics = analytics.metrics(replay.generation);
  return { ...replayView(analytics, replay), digest: digestOf(metrics), metrics };
}

function unavailable(): Problem {
  return new Problem("broker_unavailable", "try again", { headers: { "retry-after": "1" } });
}
