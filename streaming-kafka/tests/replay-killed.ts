import { setFaults } from "@lab/lab/services/set-faults";
import { countRecords, eventsOf, readTopic, type TopicRecord } from "@lab/lab/probes/kafka-tools";
import { describeGroup, totalCommitted, totalLag } from "@lab/lab/probes/lag";
import { beginReplay, fetchMetrics, fetchReplay, sumOf } from "@lab/lab/probes/replay";
import { eventually, settled } from "@lab/lab/host/waiting";
import { SESSION_TIMEOUT_MS } from "../kafka/client.ts";
import { allEnded, getJson } from "./campus.ts";
import { holdsArithmetic, place, replayEnds, seconds, type Shared } from "./replay-parts.ts";

export const KILLED = { count: 4_000, rate_per_s: 500 };
export const MEANWHILE = { count: 500 };
/** Slow enough that a replay can be killed in the middle. */
export const SLOW_MS = 1;

/**
 * Inventory killed after its answer and before its commit; then a replay, while orders keep coming.
 */
export async function replayAfterKill(shared: Shared): Promise<void> {
  const { run, stream, admin } = shared;
  const { brokers, campus, names } = stream;
  run.progress("orders come, and Inventory is killed");
  await place(shared, KILLED);
  const answered = await stopBetweenAnswerAndCommit(shared);
  await campus.inventory.kill();
  const killedS = run.elapsedS();
  await campus.inventory.restart();
  const readyS = run.elapsedS();
  run.progress("Inventory is started again; its old self is still in the group");
  await campus.inventory.healthy();
  const rejoinedS = run.elapsedS();
  await allEnded(campus);
  await eventually(
    "Inventory has caught up",
    async () => totalLag(await describeGroup(admin, names.inventoryGroup)) === 0,
  );
  const caughtUpS = run.elapsedS();
  const before = await holdsArithmetic(shared, "after Inventory was killed");

  const outcomeRecords = await readTopic(brokers, names.inventoryEvents);
  const outcomes = eventsOf(outcomeRecords);
  run.holds(
    "by event id there is one outcome for each order",
    outcomes.events.length,
    before.metrics.placed,
  );
  run.holds(
    "what Inventory had answered and not committed stands twice in the topic",
    outcomes.duplicates >= answered,
    true,
  );

  run.holds(
    "and is the same there, to the byte: the ledger repeats its answer",
    differing(outcomeRecords),
    [],
  );

  run.progress("a replay while orders come");
  const { url } = campus.downstream;
  await Promise.all([beginReplay(url), place(shared, MEANWHILE)]);
  const replay = await replayEnds(url);
  run.holds(
    "the replay ends where the old metrics stood, and is equal to them",
    { digest: replay.digest_after, equal: replay.equal },
    { digest: replay.digest_before, equal: true },
  );
  await holdsArithmetic(shared, "after the replay, later orders included");

  run.table({
    id: "duplicates",
    title: "Outcomes in inventory-events after Inventory was killed",
    columns: [{ name: "counted by" }, { name: "outcomes" }, { name: "orders" }],
    rows: [
      ["offset (every record)", outcomeRecords.length, before.metrics.placed],
      ["event id (each once)", outcomes.events.length, before.metrics.placed],
      ["Analytics", before.metrics.reserved + before.metrics.failed, before.metrics.placed],
    ],
    note: `${outcomes.duplicates} records repeat an event id: written, and their offsets not committed, when Inventory was killed. It read those orders again, and its ledger gave the same answers under the same ids.`,
  });
  run.table({
    id: "inventory-killed",
    title: "Inventory killed and started again",
    columns: [{ name: "phase" }, { name: "time", unit: "s" }],
    rows: [
      ["killed, until the new process is ready", seconds(readyS - killedS)],
      ["ready, until it is a member of its group", seconds(rejoinedS - readyS)],
      ["member, until it has caught up", seconds(caughtUpS - rejoinedS)],
    ],
    note: `The second phase is the group's: a member that was killed says no goodbye, and is missed only when its session ends, ${SESSION_TIMEOUT_MS / 1_000} s after its last heartbeat. Its partitions stand still until then.`,
  });
  run.figure("killed_digest_before", replay.digest_before);
  run.figure("killed_digest_after", replay.digest_after);
  run.figure("killed_duplicates", outcomes.duplicates);
}

/**
 * Stops Inventory repeatedly (SIGSTOP) until it is between an answer and its commit; returns how
 * many answers are not committed. 0 when the stream ended before that happened.
 */
async function stopBetweenAnswerAndCommit({
  stream: { campus, names },
  admin,
}: Shared): Promise<number> {
  const answered = async () =>
    (await countRecords(admin, names.inventoryEvents)) -
    totalCommitted(await describeGroup(admin, names.inventoryGroup));
  const { found } = await eventually(
    "Inventory stands between an answer and its commit",
    async () => {
      await campus.inventory.pause();
      // What it sent before it was stopped may still be in transit.
      const open = await settled("the offsets stand", answered, {
        forMs: 100,
      }).catch(() => 0);
      if (open !== 0) return { found: open };
      const { orders } = await getJson<{ orders: unknown[] }>(
        `${campus.order.url}/orders?status=placed&limit=1`,
      );
      if (orders.length === 0) return { found: 0 };
      await campus.inventory.resume();
      return false;
    },
    { everyMs: 10 },
  );
  return found;
}

/** Analytics killed in the middle of a replay. */
export async function replayKilled(shared: Shared): Promise<void> {
  const { run, stream } = shared;
  const { downstream } = stream.campus;
  run.progress("a slow replay, and Analytics is killed in it");
  const before = await fetchMetrics(downstream.url);
  await setFaults(downstream, { throttle_ms: SLOW_MS });
  await beginReplay(downstream.url);
  const all = sumOf(before.offsets);
  const half = await eventually("a third of the log is folded again", async () => {
    const replay = await fetchReplay(downstream.url);
    const folded = sumOf(replay.positions);
    if (folded < all / 3) throw new Error(`${folded} of ${all} are`);
    return replay;
  });
  await downstream.kill();
  const killedS = run.elapsedS();
  await downstream.restart();
  const readyS = run.elapsedS();
  const between = await fetchReplay(downstream.url);
  run.holds(
    "the new process goes on with the same replay, where it was",
    {
      generation: between.generation,
      state: between.state,
      went_back: sumOf(between.positions) < sumOf(half.positions),
    },
    { generation: half.generation, state: "replaying", went_back: false },
  );
  await downstream.healthy();
  const rejoinedS = run.elapsedS();
  const replay = await replayEnds(downstream.url);
  const endedS = run.elapsedS();
  run.holds(
    "killed in the middle, it ends with the same metrics",
    { digest: replay.digest_after, equal: replay.equal },
    { digest: before.digest, equal: true },
  );
  await holdsArithmetic(shared, "after the replay that was killed");
  run.table({
    id: "analytics-killed",
    title: "Analytics killed in the middle of a replay",
    columns: [
      { name: "phase" },
      { name: "time", unit: "s" },
      { name: "records folded by its end" },
    ],
    rows: [
      [
        `replay, slowed to ${SLOW_MS} ms for each record, until the SIGKILL`,
        null,
        sumOf(half.positions),
      ],
      [
        "killed, until the new process is ready",
        seconds(readyS - killedS),
        sumOf(between.positions),
      ],
      [
        "ready, until it is a member of its group",
        seconds(rejoinedS - readyS),
        sumOf(between.positions),
      ],
      ["member, until the swap", seconds(endedS - rejoinedS), sumOf(replay.targets)],
    ],
    note: "The third phase is the killed member's session: the group's offsets can't be set while it counts as a member.",
  });
}

/** Ids of events that were written twice with different content. */
function differing(records: readonly TopicRecord[]): string[] {
  const written = new Map<string, Set<string>>();
  for (const { value } of records) {
    const text = String(value);
    const { id } = JSON.parse(text) as { id: string };
    written.set(id, (written.get(id) ?? new Set()).add(text));
  }
  return [...written].filter(([, texts]) => texts.size > 1).map(([id]) => id);
}
