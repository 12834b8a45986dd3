// The line to the server: a snapshot first, then frames; closed while nobody looks.
import type { Band, Frame, Hop, Snapshot } from "../../contract/frame.ts";
import { connection, facts, frame, history } from "./state.ts";

/** So many seconds of the charts are kept. */
const HISTORY_S = 600;
const AGAIN_MS = 1_000;
/** The server says something at least every five seconds. */
const SILENT_MS = 8_000;

export type OnHops = (model: number, hops: readonly Hop[], frame: Frame) => void;

/** The bands that are over and that a frame no longer has, as far back as the charts look. */
function closedBefore({ at_ms, bands }: Frame): Band[] {
  const ids = new Set(bands.map(({ id }) => id));
  const since = at_ms - HISTORY_S * 1_000;
  return (frame.value?.bands ?? []).filter(
    ({ id, to_ms }) => to_ms !== null && to_ms > since && !ids.has(id),
  );
}

/** Connects, and connects again whenever the line is lost. `begin` is called with each snapshot. */
export function connect(onHops: OnHops, begin: () => void): void {
  let source: EventSource | undefined;
  let again: ReturnType<typeof setTimeout> | undefined;
  let silent: ReturnType<typeof setTimeout> | undefined;

  const lose = () => {
    source?.close();
    source = undefined;
    connection.value = "lost";
    clearTimeout(again);
    again = setTimeout(start, AGAIN_MS);
  };
  const heard = () => {
    clearTimeout(silent);
    silent = setTimeout(lose, SILENT_MS);
  };
  const take = (next: Frame) => {
    heard();
    frame.value = next;
    const { tick } = next;
    const before = history.value.at(-1);
    if (before === undefined || tick.at_ms - before.at_ms >= 1_000) {
      history.value = [...history.value.slice(-HISTORY_S), tick];
    }
    next.models.forEach(({ hops }, n) => onHops(n, hops, next));
  };
  const start = () => {
    if (document.hidden) return;
    source = new EventSource("/events");
    source.addEventListener("snapshot", ({ data }: MessageEvent<string>) => {
      const snapshot = JSON.parse(data) as Snapshot;
      begin();
      facts.value = snapshot.facts;
      history.value = snapshot.history;
      connection.value = "live";
      take(snapshot);
      snapshot.dots.forEach((dots, n) => onHops(n, dots, snapshot));
    });
    source.addEventListener("frame", ({ data }: MessageEvent<string>) => {
      const next = JSON.parse(data) as Frame;
      take({ ...next, bands: [...closedBefore(next), ...next.bands] });
    });
    // The browser would try the same line again: a new one begins with a snapshot.
    source.addEventListener("error", lose);
  };
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      clearTimeout(silent);
      source?.close();
      source = undefined;
    } else if (source === undefined) start();
  });
  start();
}
