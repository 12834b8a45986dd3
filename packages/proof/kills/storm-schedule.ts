import { draw } from "@lab/workflow/random";
import type { Model } from "@lab/evidence/evidence";
import { factsOf } from "@lab/lab/brokers/model-facts";
import type { ToxicRequest } from "@lab/lab/proxy/toxics";

/** One thing that strikes one target for a while; nothing else strikes it meanwhile. */
export interface Strike {
  /** Seconds since the storm's start. */
  from_s: number;
  to_s: number;
  /** A service's name, a link's, or `broker`. */
  target: string;
  kind: string;
}

/** How often a target is struck, and by what: [kind, lasts at least, at most], in seconds. */
interface StrikeRate {
  /** The pause between two strikes is half of it to one and a half. */
  every_s: number;
  kinds: [kind: string, least_s: number, most_s: number][];
}

const OF_SERVICE: StrikeRate = {
  every_s: 12,
  kinds: [
    ["kill", 0.2, 4],
    ["kill", 0.2, 4],
    // Past the session timeout of a Kafka consumer, now and then.
    ["pause", 0.5, 9],
    ["stop", 0.2, 2],
  ],
};
const OF_LINK: StrikeRate = {
  every_s: 8,
  kinds: [
    ["latency", 1, 5],
    ["bandwidth upstream", 1, 5],
    ["bandwidth downstream", 1, 5],
    ["timeout upstream", 0.5, 4],
    ["timeout downstream", 0.5, 4],
    ["reset_peer upstream", 0.2, 1.5],
    ["reset_peer downstream", 0.2, 1.5],
    ["limit_data upstream", 0.2, 1.5],
    ["limit_data downstream", 0.2, 1.5],
    ["down", 0.5, 5],
  ],
};
const OF_BROKER: StrikeRate = {
  every_s: 30,
  kinds: [
    ["kill", 0.5, 4],
    ["pause", 2, 15],
  ],
};

/** The toxics of a link's kind of strike. */
export const TOXICS: Record<string, ToxicRequest[]> = {
  latency: [
    { type: "latency", stream: "upstream", attributes: { latency: 80, jitter: 60 } },
    { type: "latency", stream: "downstream", attributes: { latency: 80, jitter: 60 } },
  ],
  ...perDirection({ type: "bandwidth", attributes: { rate: 20 } }),
  ...perDirection({ type: "timeout" }),
  ...perDirection({ type: "reset_peer" }),
  ...perDirection({ type: "limit_data", attributes: { bytes: 2_000 } }),
};

/** One kind for each direction. */
function perDirection(toxic: ToxicRequest): Record<string, ToxicRequest[]> {
  return {
    [`${toxic.type} upstream`]: [{ ...toxic, stream: "upstream" }],
    [`${toxic.type} downstream`]: [{ ...toxic, stream: "downstream" }],
  };
}

/** Nothing begins in a storm's last seconds, so that the last strike too is under load when it ends. */
const CALM_S = 3;

/**
 * A storm's strikes in their order: the same for the same seed, length and model. Throws when it is
 * too short for any.
 */
export function stormSchedule(seed: number, minutes: number, model: Model): Strike[] {
  const { broker, links, services } = factsOf(model);
  const targets: [string, StrikeRate][] = [
    ...services.map((name): [string, StrikeRate] => [name, OF_SERVICE]),
    ...links.map((name): [string, StrikeRate] => [name, OF_LINK]),
  ];
  if (broker) targets.push(["broker", OF_BROKER]);
  const end_s = minutes * 60 - CALM_S;
  const strikes = targets
    .flatMap(([target, rate]) =>
      strikesOf(target, rate, end_s, seedOf(`${seed} ${model} ${target}`)),
    )
    .toSorted((a, b) => a.from_s - b.from_s || a.target.localeCompare(b.target));
  if (strikes.length === 0) {
    throw new Error(
      `a storm of ${minutes} minutes is over before anything strikes: try --minutes 1`,
    );
  }
  return strikes;
}

/** No two targets are struck alike. */
function seedOf(text: string): number {
  return Buffer.from(text).reduce((sum, byte) => (Math.imul(sum, 31) + byte) | 0, 0);
}

function strikesOf(target: string, rate: StrikeRate, end_s: number, seed: number): Strike[] {
  const strikes: Strike[] = [];
  let at_s = 0;
  for (let n = 0; ; n += 3) {
    const from_s = at_s + rate.every_s * (0.5 + draw(seed, n));
    const [kind, least_s, most_s] = rate.kinds[Math.floor(draw(seed, n + 1) * rate.kinds.length)]!;
    at_s = from_s + least_s + draw(seed, n + 2) * (most_s - least_s);
    if (at_s > end_s) return strikes;
    strikes.push({ from_s: rounded(from_s), to_s: rounded(at_s), target, kind });
  }
}

function rounded(seconds: number): number {
  return Math.round(seconds * 1_000) / 1_000;
}
