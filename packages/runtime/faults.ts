import { setTimeout } from "node:timers/promises";
import { type Static, Type } from "@sinclair/typebox";
import { Problem } from "@lab/contracts/problem";
import { draw } from "@lab/workflow/random";
import { ConfigError, variableName } from "./env.ts";

const MAX_MS = 600_000;
const KEEP_ALIVE_MS = 500;
const NO_FAULTS = { delay_ms: 0, fail_rate: 0, hang: false, throttle_ms: 0 };

/** Body of `PUT /faults`: what is left out is off. */
export const FaultSettings = Type.Object(
  {
    delay_ms: Type.Integer({ minimum: 0, maximum: MAX_MS, default: 0 }),
    fail_rate: Type.Number({ minimum: 0, maximum: 1, default: 0 }),
    hang: Type.Boolean({ default: false }),
    throttle_ms: Type.Integer({ minimum: 0, maximum: MAX_MS, default: 0 }),
    seed: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, default: 1 }),
  },
  { additionalProperties: false },
);
export type FaultSettings = Static<typeof FaultSettings>;

export const OnOff = Type.Union([Type.Literal("on"), Type.Literal("off")], {
  default: "off",
});

/** The settings of a service's faults: `delayMs` is INVENTORY_DELAY_MS for the role `inventory`. */
export function faultKnobs<const R extends string>(role: R) {
  const { delay_ms, fail_rate, hang, throttle_ms, seed } = FaultSettings.properties;
  return {
    labFaults: OnOff,
    throttleMs: throttle_ms,
    faultSeed: seed,
    ...({
      [`${role}DelayMs`]: delay_ms,
      [`${role}FailRate`]: fail_rate,
      [`${role}Hang`]: hang,
    } as Record<`${R}DelayMs`, typeof delay_ms> &
      Record<`${R}FailRate`, typeof fail_rate> &
      Record<`${R}Hang`, typeof hang>),
  };
}

type FaultConfig<R extends string> = {
  labFaults: "on" | "off";
  throttleMs: number;
  faultSeed: number;
} & Record<`${R}DelayMs` | `${R}FailRate`, number> &
  Record<`${R}Hang`, boolean>;

/** A failure that a fault setting asked for; the next attempt may succeed. */
export class InjectedFailure extends Problem {
  constructor(n: number) {
    super("injected_failure", `call ${n} fails by its seed`);
  }
}

/** Whether the n-th call (n from 1) fails under a fail rate; it depends on the seed and n alone. */
export function failsAt(settings: Pick<FaultSettings, "fail_rate" | "seed">, n: number): boolean {
  return draw(settings.seed, n) < settings.fail_rate;
}

/** The faults of one service, off unless `LAB_FAULTS=on`. */
export class Faults {
  readonly enabled: boolean;
  #settings: FaultSettings;
  #calls = 0;
  #struck = 0;
  #changed = new AbortController();

  constructor(enabled: boolean, settings: FaultSettings) {
    this.enabled = enabled;
    this.#settings = settings;
  }

  get settings(): FaultSettings {
    return this.#settings;
  }

  /** How many units of work the present faults have delayed, held or failed. */
  get struck(): number {
    return this.#struck;
  }

  /** Replaces all faults and counts calls from 1 again; ends every wait of the old ones. */
  set(settings: FaultSettings): void {
    this.#settings = settings;
    this.#calls = 0;
    this.#struck = 0;
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  /** Ends all faults, so that a stop need not wait for them. */
  end(): void {
    this.set({ ...this.#settings, ...NO_FAULTS });
  }

  /**
   * The batch size, at most `most`, with which a throttled batch takes about a quarter of a second.
   */
  batchLimit(most: number): number {
    const each = this.#settings.throttle_ms + this.#settings.delay_ms;
    return each === 0 ? most : Math.min(most, Math.max(1, Math.floor(250 / each)));
  }

  /**
   * Applies the faults to a unit of work: hangs while `hang` is on, waits for the delay and the
   * throttle, throws `InjectedFailure` where the seed says so. `keepAlive` is called while it
   * waits.
   */
  async strike(keepAlive?: () => Promise<void>): Promise<void> {
    if (!this.enabled) return;
    const settings = this.#settings;
    const call = ++this.#calls;
    const fails = failsAt(settings, call);
    const waitMs = settings.delay_ms + settings.throttle_ms;
    if (fails || waitMs > 0 || settings.hang) this.#struck += 1;
    let until = performance.now() + waitMs;
    while (this.#settings.hang || performance.now() < until) {
      // Rounded up: the last fraction of a millisecond would be spent in a busy loop.
      const leftMs = this.#settings.hang ? Infinity : Math.ceil(until - performance.now());
      const { signal } = this.#changed;
      await setTimeout(Math.min(leftMs, KEEP_ALIVE_MS), undefined, { signal }).catch(() => {});
      // New faults end the wait of the old ones.
      if (this.#settings !== settings) until = 0;
      await keepAlive?.();
    }
    if (fails) throw new InjectedFailure(call);
  }
}

/** The faults of a configuration; throws when it sets any without LAB_FAULTS=on. */
export function createFaults<const R extends string>(role: R, config: FaultConfig<R>): Faults {
  const settings: FaultSettings = {
    delay_ms: config[`${role}DelayMs`] as number,
    fail_rate: config[`${role}FailRate`] as number,
    hang: config[`${role}Hang`] as boolean,
    throttle_ms: config.throttleMs,
    seed: config.faultSeed,
  };
  const enabled = config.labFaults === "on";
  const { seed: _, ...asked } = settings;
  if (!enabled && Object.values(asked).some(Boolean)) {
    throw new ConfigError(
      `bad environment:\n  ${variableName(role)}_* and THROTTLE_MS need LAB_FAULTS=on`,
    );
  }
  return new Faults(enabled, settings);
}
