import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import type { ShownMetrics, ShownReplay } from "@lab/lab/probes/replay";
import { usePolled } from "../live/polled.ts";
import { frame } from "../live/state.ts";
import { number } from "../live/words.ts";
import { Do, Title } from "./side.tsx";

interface Looked {
  metrics: ShownMetrics;
  replay: ShownReplay | null;
}

const EVERY_MS = 300;

/** The stream's metrics computed again: before, falling, after. */
export function ReplayPanel() {
  /** What was shown last when the newest replay began, and when it had ended. */
  const before = useSignal<ShownMetrics | undefined>(undefined);
  const after = useSignal<ShownMetrics | undefined>(undefined);
  const seen = useRef<{ generation: number; metrics: ShownMetrics } | undefined>(undefined);
  const { answer: looked, wrong } = usePolled<Looked>("/replay", EVERY_MS, (now) => {
    const generation = now.replay?.generation ?? 0;
    const isNew = seen.current !== undefined && seen.current.generation !== generation;
    if (isNew) {
      before.value = seen.current!.metrics;
      after.value = undefined;
    }
    if (now.replay?.state === "replaying") {
      // A page that comes in the middle hasn't seen what was before.
      if (seen.current === undefined) seen.current = { generation, metrics: now.metrics };
      else seen.current.generation = generation;
      return;
    }
    if (before.value !== undefined) after.value ??= now.metrics;
    seen.current = { generation, metrics: now.metrics };
  });
  const { metrics, replay } = looked.value ?? {};
  const isRunning = replay?.state === "replaying";
  const rows =
    metrics &&
    rowsOf(before.value ?? metrics, isRunning ? replay : undefined, after.value ?? metrics);
  return (
    <>
      <Title>Replay the stream</Title>
      <p>
        Analytics goes back to the start of the log and counts everything again, up to where it
        stood. The orders aren't sent again: Inventory does nothing.
      </p>
      {wrong.value !== "" && <p class="warn">{wrong.value}</p>}
      <Do action={{ do: "replay" }} disabled={isRunning || metrics === undefined}>
        Compute the metrics again
      </Do>
      {rows !== undefined && (
        <table class="compare">
          <thead>
            <tr>
              <th />
              <th scope="col">{before.value === undefined && !isRunning ? "now" : "before"}</th>
              {(before.value !== undefined || isRunning) && (
                <th scope="col">{isRunning ? "now, counting" : "after"}</th>
              )}
            </tr>
          </thead>
          <tbody>
            {rows.map(([name, old, now]) => (
              <tr key={name} class={old === now ? "" : "differs"}>
                <th scope="row">{name}</th>
                <td>{old}</td>
                {(before.value !== undefined || isRunning) && <td>{now}</td>}
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {replay && !isRunning && (
        <p class={replay.equal ? "good" : "bad"}>
          {replay.equal ? "✓ EQUAL" : "✕ DIFFERENT"}: digest {replay.digest_before.slice(0, 16)}…
          before, {replay.digest_after?.slice(0, 16)}… after
        </p>
      )}
      {frame.value?.load !== "" && (
        <p class="quiet">
          Orders go on meanwhile: the digests are of the same records, the columns of the moments
          before and after.
        </p>
      )}
      <p class="quiet">
        Orders per minute by the time of processing differ, because a replay reads as fast as it
        can. By the time of the event they are equal.
      </p>
    </>
  );
}

function rowsOf(
  before: ShownMetrics,
  running: ShownReplay | undefined,
  metrics: ShownMetrics,
): [name: string, before: string, now: string][] {
  const now = running?.metrics ?? metrics.metrics;
  const old = before.metrics;
  return [
    ["orders placed", number(old.placed), number(now.placed)],
    ["reserved", number(old.reserved), number(now.reserved)],
    ["failed", number(old.failed), number(now.failed)],
    [
      "orders a minute, by event time",
      number(old.mean_orders_per_minute),
      number(now.mean_orders_per_minute),
    ],
    [
      "orders a minute, by processing time",
      number(before.processing_time.orders_per_minute),
      running ? "…" : number(metrics.processing_time.orders_per_minute),
    ],
  ];
}
