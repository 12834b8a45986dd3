import { mkdirSync } from "node:fs";
import { dirname } from "node:path";
import type { Broker } from "@lab/lab/brokers/broker";
import type { Model } from "@lab/evidence/evidence";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import type { Outcome } from "@lab/lab/load/history";
import { openLoop, seededOrder } from "@lab/lab/load/load";
import type { ServiceProcess } from "@lab/lab/services/processes";
import type { FaultProxy } from "@lab/lab/proxy/proxy";
import { settings, stormMinutes } from "@lab/evidence/settings";
import type { Trial } from "@lab/lab/experiment/trial";
import { nowUs, outage } from "@lab/lab/host/waiting";
import { illegalAnswers } from "../answers.ts";
import { answersTable, judge, LOW_RATE_PER_S } from "../common.ts";
import { type Strike, stormSchedule, TOXICS } from "./storm-schedule.ts";

/** One order in so many has an idempotency key; its client retries while the outcome is unknown. */
const KEYED = 3;
const TRIES = 3;
const TIMEOUT_MS = 5_000;
/** What it takes to come to rest, and to be judged. */
const AFTERWARDS_S = 300;

/** The least share of the schedule that must take place: a broker that starts slowly delays its later strikes, and some no longer fit in. */
const STRUCK_SHARE = 0.8;
/** Every kind of strike that is to end within this first part of the storm must have hit its target. */
const SURE_PART = 0.75;

const MINUTES = stormMinutes();
const { labLiveS } = settings();
/** How often it says how it stands, s. */
const LIVE_S = labLiveS ?? (process.stderr.isTTY ? 1 : 10);

/** A model with everything in reach that a storm may strike. */
export interface StormTargets extends AsyncDisposable {
  trial: Trial;
  /** By the names that the model's facts have for them. */
  links: Record<string, FaultProxy>;
  broker?: Broker;
}

/** Kills, pauses, stops, a bad network and a broker that dies, all at once and for minutes. */
export function testStorm(model: Model, open: (run: Run) => Promise<StormTargets>): void {
  experiment(
    {
      name: "storm",
      model,
      question: "Everything at once, for minutes: is anything lost, doubled or left half-done?",
      method: `${LOW_RATE_PER_S} orders/s for ${MINUTES} minutes, a third of them by clients that ask again under their key when they don't know. Meanwhile a schedule that follows from the seed kills, pauses and stops services, spoils the network and kills and pauses the broker, several at a time. Then all of it ends, and nobody helps.`,
      disproof:
        "Anything illegal in the checker's eyes, a dead letter, an answer that the model may not give, a service that ends by itself, stops with an exit code other than 0 or doesn't come to rest. A schedule that for the most part never struck.",
      requirements: [],
      parameters: { minutes: MINUTES, rate_per_s: LOW_RATE_PER_S },
      timeoutS: MINUTES * 60 + AFTERWARDS_S,
    },
    async (run) => {
      await using targets = await open(run);
      const { trial } = targets;
      const storm = new Storm(targets, stormSchedule(run.seed, MINUTES, model));
      await storm.keep(run.fileBeside("schedule.jsonl"));
      await Promise.all([
        openLoop({
          ratePerS: LOW_RATE_PER_S,
          durationS: MINUTES * 60,
          send: (n) => placeOne(run, trial, n),
        }),
        storm.run(),
        sayLive(run, trial, storm),
      ]);
      run.progress("all of it is lifted");
      await storm.lift();
      table(run, storm);
      const ended = await endedByThemselves(trial);
      run.holds("no service ended by itself", ended, []);
      run.holds("every stop ended with 0", storm.badStops, []);
      const { acknowledged } = await judge(run, trial, storm.struck);
      answersTable(run, trial);
      run.holds("no answer was illegal", illegalAnswers(model, trial.operations), []);
      run.holds("orders were acknowledged", acknowledged > 0, true);
      run.holds(
        `at least ${STRUCK_SHARE * 100} % of the schedule struck`,
        storm.done.length >= STRUCK_SHARE * storm.planned,
        true,
      );
      run.holds(
        `every kind of the schedule's first ${SURE_PART * 100} % struck its target`,
        storm.missed,
        [],
      );
    },
  );
}

class Storm {
  /** With the times as they were. */
  readonly done: Strike[] = [];
  /** Stops that ended with another exit code than 0. */
  readonly badStops: string[] = [];
  readonly #targets: StormTargets;
  readonly #schedule: readonly Strike[];
  readonly #zeroUs = nowUs();
  /** What strikes now. */
  readonly #now = new Set<Strike>();

  constructor(targets: StormTargets, schedule: readonly Strike[]) {
    this.#targets = targets;
    this.#schedule = schedule;
  }

  /** Writes the schedule down: with the history it is what there is to look at after a violation. */
  async keep(file: string): Promise<void> {
    mkdirSync(dirname(file), { recursive: true });
    await Bun.write(file, this.#schedule.map((strike) => `${JSON.stringify(strike)}\n`).join(""));
  }

  get elapsedS(): number {
    return (nowUs() - this.#zeroUs) / 1_000_000;
  }

  get isOver(): boolean {
    return this.elapsedS >= MINUTES * 60;
  }

  get struck(): { kills: number; faults: number } {
    const kills = this.done.filter(({ kind }) => kind === "kill").length;
    return { kills, faults: this.done.length - kills };
  }

  get planned(): number {
    return this.#schedule.length;
  }

  /** Kinds that were to strike a target in the storm's first part, and never did. */
  get missed(): string[] {
    const struck = new Set(this.done.map(whatOf));
    const due = this.#schedule.filter(({ to_s }) => to_s <= MINUTES * 60 * SURE_PART);
    return [...new Set(due.map(whatOf))].filter((what) => !struck.has(what));
  }

  /** What strikes at this moment, in words. */
  get activeStrikes(): string {
    return [...this.#now].map(whatOf).join(", ") || "calm";
  }

  /** Strikes by the schedule; each target's strikes come one after the other. */
  async run(): Promise<void> {
    const byTarget = Map.groupBy(this.#schedule, ({ target }) => target);
    await Promise.all(
      [...byTarget.values()].map(async (strikes) => {
        for (const strike of strikes) {
          await this.#until(strike.from_s);
          // What took longer than planned, as a broker's start, may have left no time.
          if (this.isOver) return;
          const from_s = this.elapsedS;
          this.#now.add(strike);
          await this.#begin(strike);
          await this.#until(strike.to_s);
          await this.#end(strike);
          this.#now.delete(strike);
          this.done.push({ ...strike, from_s, to_s: this.elapsedS });
        }
      }),
    );
  }

  /** Ends whatever is left of it. */
  async lift(): Promise<void> {
    for (const proxy of Object.values(this.#targets.links)) {
      proxy.clear();
      await proxy.enable();
    }
  }

  async #until(atS: number): Promise<void> {
    await outage(Math.max(0, atS - this.elapsedS));
  }

  async #begin({ kind, target }: Strike): Promise<void> {
    const { broker, links } = this.#targets;
    const link = links[target];
    if (link !== undefined) {
      if (kind === "down") await link.disable();
      else for (const toxic of TOXICS[kind] ?? []) link.add(toxic);
      return;
    }
    const body = target === "broker" ? broker : this.#service(target);
    if (kind === "kill") await body?.kill();
    else if (kind === "pause") await body?.pause();
    else {
      const code = await this.#service(target).stop();
      if (code !== 0) this.badStops.push(`${target} after ${this.elapsedS} s: exit code ${code}`);
    }
  }

  async #end({ kind, target }: Strike): Promise<void> {
    const { broker, links } = this.#targets;
    const link = links[target];
    if (link !== undefined) {
      if (kind === "down") await link.enable();
      else link.clear();
    } else if (kind === "pause") {
      await (target === "broker" ? broker : this.#service(target))?.resume();
    } else if (target === "broker") await broker?.start();
    else await this.#service(target).restart();
  }

  #service(name: string): ServiceProcess {
    const { services } = this.#targets.trial.campus;
    return services.find((service) => service.name === name) as ServiceProcess;
  }
}

function whatOf({ kind, target }: Strike): string {
  return `${target} ${kind}`;
}

/** A client's order: one with a key asks again until it knows. */
async function placeOne(run: Run, trial: Trial, n: number): Promise<Outcome> {
  const order = seededOrder(run.seed, n);
  if (n % KEYED !== 0) return trial.place(order, { timeoutMs: TIMEOUT_MS });
  let outcome: Outcome = { kind: "unknown" };
  for (let tries = 0; tries < TRIES && outcome.kind === "unknown"; tries += 1) {
    outcome = await trial.place(order, { key: `storm-${n}`, timeoutMs: TIMEOUT_MS });
  }
  return outcome;
}

async function sayLive(run: Run, trial: Trial, storm: Storm): Promise<void> {
  while (!storm.isOver) {
    await outage(LIVE_S);
    const { operations } = trial;
    const of = (kind: Outcome["kind"]) =>
      operations.filter(({ outcome }) => outcome === kind).length;
    const { faults, kills } = storm.struck;
    run.progress(
      `live: ${operations.length} orders, ${of("ok")} ok, ${of("unknown")} unknown, ${kills} kills, ${faults} other faults; now ${storm.activeStrikes}`,
    );
  }
}

/** Services that nobody has killed, and that don't run: with their exit codes. */
async function endedByThemselves({ campus }: Trial): Promise<string[]> {
  const ends = await Promise.all(
    campus.services.map(async ({ exited, name }) => {
      const code = await Promise.race([exited, Promise.resolve(undefined)]);
      return code === undefined ? [] : [`${name}: exit code ${code}`];
    }),
  );
  return ends.flat();
}

function table(run: Run, storm: Storm): void {
  const byKind = Map.groupBy(storm.done, whatOf);
  run.table({
    id: "storm",
    title: "What struck",
    columns: [
      { name: "target" },
      { name: "fault" },
      { name: "times" },
      { name: "together", unit: "s" },
    ],
    rows: [...byKind.values()]
      .map((strikes) => {
        const [{ kind, target }] = strikes as [Strike];
        const lasted = strikes.reduce((sum, { from_s, to_s }) => sum + to_s - from_s, 0);
        return [target, kind, strikes.length, Math.round(lasted * 10) / 10];
      })
      .toSorted(([a], [b]) => String(a).localeCompare(String(b))),
    note: `Seed ${run.seed}, ${MINUTES} minutes: ${storm.done.length} of ${storm.planned} strikes of the schedule.`,
  });
  run.figure("strikes", storm.done.length);
}
