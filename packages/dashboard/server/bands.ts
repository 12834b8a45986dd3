// What is broken, as seen and not as switched: also what a person breaks in a terminal.
import { models as titles } from "@lab/evidence/experiments";
import { faultText } from "../contract/commands.ts";
import type { Band, ModelFrame } from "../contract/frame.ts";

/** A service that is only started again is away for a moment. */
const MOMENT_MS = 700;
/** As long as the charts look back. */
const KEEP_MS = 600_000;

export class Bands {
  #bands: Band[] = [];
  readonly #open = new Map<string, Band>();
  readonly #first = new Map<string, number>();
  #n = 0;

  /** Opens what is new, and closes what is over. */
  look(models: readonly ModelFrame[], nowMs: number): Band[] {
    const now = new Map(models.flatMap(troublesOf));
    for (const [key, label] of now) {
      const known = this.#open.get(key);
      if (known !== undefined) continue;
      const from_ms = this.#first.get(key) ?? nowMs;
      this.#first.set(key, from_ms);
      if (nowMs - from_ms < MOMENT_MS) continue;
      const band = { id: ++this.#n, label, from_ms, to_ms: null };
      this.#open.set(key, band);
      this.#bands.push(band);
    }
    for (const key of this.#first.keys()) {
      if (!now.has(key)) this.#first.delete(key);
    }
    for (const [key, band] of this.#open) {
      if (now.has(key)) continue;
      band.to_ms = nowMs;
      this.#open.delete(key);
    }
    this.#bands = this.#bands
      .filter(({ to_ms }) => to_ms === null || to_ms > nowMs - KEEP_MS)
      .slice(-40);
    return this.#bands;
  }
}

/** Each trouble of a model, by a key, with its label. */
function troublesOf(frame: ModelFrame): [key: string, label: string][] {
  const { broker, model, network, services, without } = frame;
  const part = titles.find((one) => one.model === model)!.part;
  const found: [string, string][] = [];
  for (const { faults = {}, name, state } of services) {
    const short = name.split("-")[0]!;
    // A service that is only starting was not broken.
    if (state === "killed" || state === "paused") {
      found.push([`${model}/${name}`, `${part}: ${short} ${state}`]);
    }
    for (const [fault, value] of Object.entries(faults)) {
      found.push([`${model}/${name}/${fault}`, `${part}: ${short} ${faultText(fault, value)}`]);
    }
  }
  if (broker !== undefined && broker.state !== "up") {
    found.push([`${model}/broker`, `${part}: ${broker.name} ${broker.state}`]);
  }
  if (network !== null) found.push([`${model}/network`, `${part}: line ${network.fault}`]);
  if (without.length > 0)
    found.push([`${model}/without`, `${part}: without ${without.join(", ")}`]);
  return found;
}
