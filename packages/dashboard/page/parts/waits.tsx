import type { ModelFrame } from "../../contract/frame.ts";
import type { Facts } from "../live/state.ts";
import { age, number } from "../live/words.ts";

/** What is between two services: calls, a queue, or the partitions of a topic. */
export function Wait({
  facts,
  model,
  station,
  which,
}: {
  facts: Facts;
  model: ModelFrame;
  station: number;
  which: 0 | 1;
}) {
  const kind = model.queues.length > 0 ? "queue" : model.logs.length > 0 ? "log" : "call";
  return (
    <div class={`row wait ${facts.hasBroker ? kind : "call"}`}>
      <div>
        {!facts.hasBroker && <Call model={model} which={which} />}
        {facts.hasBroker && kind === "queue" && <Queue model={model} which={which} />}
        {facts.hasBroker && kind === "log" && <Log model={model} which={which} />}
        {facts.hasBroker && kind === "call" && <p class="quiet">the broker isn't up yet</p>}
      </div>
      <div class="tray" data-station={station} />
    </div>
  );
}

function Call({ model, which }: { model: ModelFrame; which: 0 | 1 }) {
  const { open, reserved } = model.stats;
  return (
    <>
      <h4>{which === 0 ? "POST /reserve" : "POST /send"}</h4>
      <p>
        <b>{number(which === 0 ? open - reserved : reserved)}</b> in flight{" "}
        <span class="quiet">as Order has stored it, ≤ 0.5 s ago</span>
      </p>
    </>
  );
}

function Queue({ model, which }: { model: ModelFrame; which: 0 | 1 }) {
  const queue = model.queues[which];
  if (queue === undefined) return null;
  const back = model.queues[2];
  return (
    <>
      <h4>{queue.name}</h4>
      <p>
        <b>{number(queue.ready)}</b> ready · <b>{number(queue.unacked)}</b> unacked ·{" "}
        <b class={queue.dead ? "bad" : ""}>{number(queue.dead)}</b> dead
      </p>
      <p class="quiet">
        {age(queue.age_ms)}, unacked {age(queue.unacked_age_ms)}
      </p>
      {which === 1 && back !== undefined && (
        <p class="quiet">
          back to Order: <b>{number(back.ready)}</b> ready · <b>{number(back.unacked)}</b> unacked ·{" "}
          <b>{number(back.dead)}</b> dead, {age(back.age_ms)}
        </p>
      )}
    </>
  );
}

function Log({ model, which }: { model: ModelFrame; which: 0 | 1 }) {
  const log = model.logs[which];
  if (log === undefined) return null;
  // Where a topic was made anew, the old commit may lie behind the new end.
  const lags = log.partitions.map(([end, done]) => Math.max(0, end - done));
  const lag = lags.reduce((sum, one) => sum + one, 0);
  const behind = Math.max(0, ...log.partitions.map(([, , seconds]) => seconds));
  const most = Math.max(1, ...lags);
  return (
    <>
      <h4>{log.topic}</h4>
      <p>
        lag <b>{number(lag)}</b>
        {behind > 0 && <> · {behind} s behind</>}{" "}
        <span class="quiet">
          · group {log.group}, {number(log.members)} {log.members === 1 ? "member" : "members"},{" "}
          {age(log.age_ms)}
        </span>
      </p>
      <ol
        class="partitions"
        aria-label={`Partitions of ${log.topic}: committed of end, and the lag in records and seconds`}
      >
        {log.partitions.map(([end, done, seconds], n) => (
          <li key={n}>
            <span>
              <svg viewBox="0 0 10 4" preserveAspectRatio="none" aria-hidden="true">
                <rect class="all" width="10" height="4" />
                <rect class="lag" width={(lags[n]! / most) * 10} height="4" />
              </svg>
            </span>
            <small>
              {number(done)}/{number(end)}
            </small>
            {lags[n]! > 0 && (
              <small>
                <b>{number(lags[n])}</b>
                {seconds > 0 && ` · ${seconds} s`}
              </small>
            )}
          </li>
        ))}
      </ol>
    </>
  );
}
