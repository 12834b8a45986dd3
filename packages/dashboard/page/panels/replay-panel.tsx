import { useSignal } from "@preact/signals";
import type { ShownMetrics, ShownReplay } from "@lab/lab/probes/replay";
import { usePolled } from "../live/polled.ts";
import { number } from "../live/words.ts";
import { Do, Title } from "./side.tsx";

interface Looked {
  metrics: ShownMetrics;
  replay: ShownReplay | null;
}

const EVERY_MS = 300;

/** The stream's metrics computed again: before, falling, after. */
export function ReplayPanel() {
  const before = useSignal<ShownMetrics | undefined>(undefined);
  const { answer: looked, wrong } = usePolled<Looked>("/replay", EVERY_MS, (now) => {
    // Until a replay begins, what is shown is "before".
    if (now.replay?.state !== "replaying" && !isOf(before.value, now.replay))
      before.value = now.metrics;
  });
  const { metrics, replay } = looked.value ?? {};
  const isRunning = replay?.state === "replaying";
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
      {metrics !== undefined && (
        <table class="compare">
          <thead>
            <tr>
              <th />
              <th scope="col">before</th>
              <th scope="col">{isRunning ? "now, counting" : "after"}</th>
            </tr>
          </thead>
          <tbody>
            {rowsOf(before.value ?? metrics, isRunning ? replay : undefined, metrics).map(
              ([name, old, now]) => (
                <tr key={name} class={old === now ? "" : "differs"}>
                  <th scope="row">{name}</th>
                  <td>{old}</td>
                  <td>{now}</td>
                </tr>
              ),
            )}
          </tbody>
        </table>
      )}
      {replay && !isRunning && (
        <p class={replay.equal ? "good" : "bad"}>
          {replay.equal ? "✓ EQUAL" : "✕ DIFFERENT"}: digest {replay.digest_before.slice(0, 16)}…
          before, {replay.digest_after?.slice(0, 16)}… after
        </p>
      )}
      <p class="quiet">
        Orders per minute by the time of processing differ, because a replay reads as fast as it
        can. By the time of the event they are equal.
      </p>
    </>
  );
}

/** Whether those metrics are what the last replay began with. */
function isOf(metrics: ShownMetrics | undefined, replay: ShownReplay | null): boolean {
  return (
    metrics !== undefined && replay?.digest_before === metrics.digest && replay.finished_at !== null
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
