// One frame for all who watch, four times a second; a slow client misses frames, never gets old ones.
import { models as titles } from "@lab/evidence/experiments";
import { Bands } from "./bands.ts";
import {
  type Click,
  type Frame,
  FRAME_MS,
  type ModelFrame,
  type Snapshot,
  type Tick,
} from "../contract/frame.ts";
import type { Lab } from "../contract/lab.ts";
import { protectionsAmong } from "./protections.ts";
import type { Watched } from "./watched.ts";

/** Charts look back so many seconds. */
const HISTORY_S = 600;

/** A frame has at most so many bytes. */
const MOST_BYTES = 10_000;
/** Longer than a page goes without a frame before it asks for a snapshot. */
const KNOWN_MS = 10_000;

export class Feed {
  readonly #bands = new Bands();
  readonly #boot = crypto.randomUUID();
  readonly #facts: Snapshot["facts"] = [];
  readonly #listeners = new Set<(frame: string) => void>();
  readonly #watched: readonly Watched[];
  readonly #history: Tick[] = [];
  clicks: Click[] = [];
  /** The steady rate, in words. */
  load = "";
  #frame: Frame | undefined;
  readonly ready: Promise<void>;

  constructor(lab: Lab, watched: readonly Watched[], signal: AbortSignal) {
    this.#watched = watched;
    this.ready = this.#lookUpFacts(lab);
    const timer = setInterval(() => this.#send(), FRAME_MS);
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  /** Calls back with each frame as JSON, until the returned function is called. */
  listen(onFrame: (frame: string) => void): () => void {
    this.#listeners.add(onFrame);
    return () => this.#listeners.delete(onFrame);
  }

  /** All that a page needs to begin. */
  snapshot(): Snapshot {
    const frame = this.#frame ?? this.#compose();
    return {
      ...frame,
      models: frame.models.map((model) => ({ ...model, hops: [] })),
      facts: this.#facts,
      history: this.#history,
      dots: this.#watched.map(({ trails }) => trails.places(frame.at_ms).slice(-300)),
    };
  }

  get frame(): Frame {
    return this.#frame ?? this.#compose();
  }

  async #lookUpFacts(lab: Lab): Promise<void> {
    for (const { facts, model } of this.#watched) {
      const { part, title } = titles.find((one) => one.model === model)!;
      this.#facts.push({
        model,
        title,
        part,
        name: lab.nameOf(model),
        services: [...facts.services],
        downstream: facts.downstream,
        queues: facts.broker?.name === "rabbitmq" ? Object.keys(facts.broker.queues) : [],
        protections: protectionsAmong(await lab.protectionsOf(model), facts.broker?.name),
        hasBroker: facts.broker !== undefined,
      });
    }
  }

  #send(): void {
    this.#frame = this.#compose();
    const { tick } = this.#frame;
    const last = this.#history.at(-1);
    if (last === undefined || tick.at_ms - last.at_ms >= 1_000) {
      this.#history.push(tick);
      if (this.#history.length > HISTORY_S) this.#history.shift();
    }
    if (this.#listeners.size === 0) return;
    const text = small(this.#frame);
    for (const listener of this.#listeners) listener(text);
  }

  #compose(): Frame {
    const at_ms = Date.now();
    const models = this.#watched.map((one) => one.frame(at_ms));
    for (const click of this.clicks) this.#follow(click);
    return {
      boot: this.#boot,
      at_ms,
      models,
      bands: this.#bands.look(models, at_ms),
      clicks: this.clicks,
      tick: {
        at_ms,
        end_ms: models.map(({ stats }) => stats.end?.p95 ?? null),
        waiting: models.map(({ stats }, n) =>
          Math.max(stats.waiting + (this.#watched[n]!.onTheWay ?? 0), stats.open),
        ),
        per_minute: models.map(({ stats }) => stats.per_minute),
      },
      load: this.load,
    };
  }

  /** Brings a click up to date. */
  #follow(click: Click): void {
    for (const one of click.orders) {
      const watched = this.#watched.find(({ model }) => model === one.model);
      const known = one.order_id === null ? undefined : watched?.book.get(one.order_id);
      if (known === undefined) continue;
      one.status = known.status === "failed" ? `failed: ${known.reason}` : known.status;
      one.ms = watched!.book.durationOf(known.order_id);
    }
  }
}

/** The frame as JSON, without the bands that the page knows by now; of one that would be too large, the newest arrivals. */
function small(frame: Frame): string {
  const since = frame.at_ms - KNOWN_MS;
  const bands = frame.bands.filter(({ to_ms }) => to_ms === null || to_ms > since);
  for (let { models } = frame; ; models = models.map(halved)) {
    const text = JSON.stringify({ ...frame, models, bands });
    const isEmpty = models.every(({ hops }) => hops.length === 0);
    if (isEmpty || Buffer.byteLength(text) <= MOST_BYTES) return text;
  }
}

function halved(model: ModelFrame): ModelFrame {
  return { ...model, hops: model.hops.slice(Math.ceil(model.hops.length / 2)) };
}
