import { expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join, relative } from "node:path";
import { atExit } from "../host/at-exit.ts";
import type { Broker, BrokerName } from "../brokers/broker.ts";
import { startOwn } from "../brokers/brokers.ts";
import { servicesKind } from "../services/compose-services.ts";
import {
  type Evidence,
  Excerpt,
  type Model,
  Scalar,
  Series,
  storableCopy,
  Table,
  validated,
  writeEvidence,
} from "@lab/evidence/evidence";
import { labFolder, repoFolder } from "@lab/evidence/folders";
import { History } from "../load/history.ts";
import { removeLeftovers } from "../probes/leftovers.ts";
import { killServices } from "../services/process-handle.ts";
import { machine, runFolder, versions } from "@lab/evidence/run-folder";
import { settings } from "@lab/evidence/settings";
import { dropBroker, sharedBroker } from "../brokers/shared-brokers.ts";
import { nowUs } from "../host/waiting.ts";

export interface Definition {
  /** What happens: `slow-inventory`. */
  name: string;
  model: Model;
  question: string;
  method: string;
  /** What would disprove the expectation. */
  disproof: string;
  /** Lines of the assignment: A3, D2. */
  requirements: string[];
  parameters?: Record<string, Scalar>;
  /** Excluding the start of brokers. */
  timeoutS?: number;
}

/** Only what hangs takes that long: on a busy machine, what works may take ten times its usual time. */
const DEFAULT_TIMEOUT_S = 600;
/** Kafka's jars may have to be downloaded first, and clean-up takes time too. */
const BROKER_TIMEOUT_S = 600;
/** How long a timed-out experiment has to clean up, once its services are killed. */
const UNWIND_MS = 5_000;

/**
 * Registers one `bun test` that runs the experiment and writes its evidence into the run's folder,
 * however it ends.
 */
export function experiment(definition: Definition, body: (run: Run) => Promise<void>): void {
  const { name, timeoutS = DEFAULT_TIMEOUT_S } = definition;
  test(
    name,
    async () => {
      await runExperiment(await runFolder(), definition, body);
    },
    (timeoutS + BROKER_TIMEOUT_S) * 1_000,
  );
}

/**
 * Runs it and writes `<into>/<model>/<name>.json`. Throws what the body threw, or when it timed
 * out, checked nothing or left a service running; the evidence has the error too.
 */
export async function runExperiment(
  into: string,
  definition: Definition,
  body: (run: Run) => Promise<void>,
): Promise<void> {
  const run = new Run(definition, into, await machine());
  await mkdir(run.folder, { recursive: true });
  const forget = atExit(() => run.removeFolder());
  run.progress(definition.question);
  const live = showLive(run);
  let failure: unknown;
  try {
    await inTime(run, definition.timeoutS ?? DEFAULT_TIMEOUT_S, body);
    if (run.evidence.checks.length === 0) {
      throw new Error("the experiment checked nothing");
    }
  } catch (error) {
    failure = error ?? new Error("the experiment threw nothing");
  }
  clearInterval(live);
  const left = killServices();
  if (left.length > 0) {
    failure ??= new Error(`it left services running: ${left.join(", ")}`);
  }
  forget();
  await run.finish(failure);
  if (failure !== undefined) throw failure;
}

/** On a terminal that shows progress in place: how many requests were answered so far. A proof answers to no line of the assignment, and shows its own figures. */
function showLive(run: Run): Timer | undefined {
  const { labLiveS } = settings();
  if (labLiveS === undefined || run.evidence.requirements.length === 0) return undefined;
  return setInterval(() => {
    const { length } = run.history.operations;
    if (length > 0) run.progress(`live: ${length.toLocaleString("en")} answered`);
  }, labLiveS * 1_000);
}

async function inTime(
  run: Run,
  timeoutS: number,
  body: (run: Run) => Promise<void>,
): Promise<void> {
  const late = Promise.withResolvers<never>();
  const limit = setInterval(() => {
    if (run.ownTimeS() < timeoutS) return;
    late.reject(new Error(`not done after ${timeoutS} s`));
  }, 50);
  const whole = (async () => body(run))();
  try {
    await Promise.race([whole, late.promise]);
  } catch (error) {
    // Once its services are killed, a body that waits for them fails, and its own clean-up runs.
    killServices();
    const gone = Promise.withResolvers<void>();
    const timer = setTimeout(gone.resolve, UNWIND_MS);
    await Promise.race([whole.catch(() => {}), gone.promise]);
    clearTimeout(timer);
    throw error;
  } finally {
    clearInterval(limit);
  }
}

/** The context of an experiment's body. */
export class Run {
  /** An empty folder for databases and logs; removed when the experiment succeeded. */
  readonly folder: string;
  /** Prefix for queues, topics and groups, of this run alone. */
  readonly namespace: string;
  /** LAB_SEED, or 1. */
  readonly seed: number;
  /** The zero of the run's time axis, for `sample` and for series; see `nowUs`. */
  readonly zeroUs = nowUs();
  readonly evidence: Evidence;
  readonly #into: string;
  readonly #brokers = new Map<BrokerName, Broker>();
  #brokerTimeS = 0;
  #brokerSinceS: number | undefined;
  #history: History | undefined;

  constructor(definition: Definition, into: string, machine: Evidence["machine"]) {
    const { name, model, question, method, disproof, requirements } = definition;
    const id = crypto.randomUUID().slice(0, 6);
    this.folder = join(labFolder, "data", `${model}-${name}-${id}`);
    this.namespace = `t${id}-`;
    const { labLength, labSeed } = settings();
    this.seed = labSeed;
    this.#into = into;
    this.evidence = {
      experiment: name,
      model,
      question,
      method,
      disproof,
      requirements,
      started_at: new Date().toISOString(),
      duration_s: 0,
      machine,
      versions: {},
      brokers: "none",
      seed: this.seed,
      parameters: {
        ...definition.parameters,
        ...(servicesKind() === "compose" ? { services: "compose" } : {}),
        ...(labLength === "full" ? {} : { length: labLength }),
      },
      tables: [],
      series: [],
      excerpts: [],
      figures: {},
      checks: [],
      held: false,
    };
  }

  /** Every operation of this run; a file of JSON lines beside the evidence. */
  get history(): History {
    this.#history ??= new History(this.fileBeside("history.jsonl"));
    return this.#history;
  }

  /** The path for a file beside this run's evidence. Throws for a name that would be read as evidence. */
  fileBeside(name: string): string {
    if (name.endsWith(".json")) throw new Error(`${name}: every .json there is evidence`);
    const { model, experiment } = this.evidence;
    return join(this.#into, model, `${experiment}.${name}`);
  }

  /** Seconds since the run's start. */
  elapsedS(): number {
    return Math.round((nowUs() - this.zeroUs) / 1_000) / 1_000;
  }

  /** The same, excluding the start of brokers. */
  ownTimeS(): number {
    const now = this.elapsedS();
    return now - this.#brokerTimeS - (now - (this.#brokerSinceS ?? now));
  }

  /** The process's broker, started at the first call; it is stopped after the last test. */
  async broker(name: BrokerName): Promise<Broker> {
    const broker = await this.#started(sharedBroker(name));
    this.#brokers.set(name, broker);
    return broker;
  }

  /** A private broker, to be killed or paused: the process's may serve others too. The caller ends it. */
  ownBroker(name: BrokerName, starting = startOwn(name)): Promise<Broker> {
    return this.#started(starting);
  }

  async #started(starting: Promise<Broker>): Promise<Broker> {
    this.#brokerSinceS ??= this.elapsedS();
    try {
      const broker = await starting;
      this.evidence.brokers = broker.kind;
      Object.assign(this.evidence.versions, broker.versions);
      return broker;
    } finally {
      const now = this.elapsedS();
      this.#brokerTimeS += now - (this.#brokerSinceS ?? now);
      this.#brokerSinceS = undefined;
    }
  }

  /** Adds a parameter that is known only now. */
  parameter(name: string, value: Scalar): void {
    this.evidence.parameters[name] = validated(name, Scalar, value);
  }

  /** Adds a table; throws when it isn't a valid one. */
  table(table: Table): void {
    this.evidence.tables.push(validated(`table ${table.id}`, Table, table));
  }

  /** Adds a series for a chart; throws when it isn't a valid one. */
  series(series: Series): void {
    this.evidence.series.push(validated(`series ${series.id}`, Series, series));
  }

  /** Adds preformatted text. */
  excerpt(excerpt: Excerpt): void {
    this.evidence.excerpts.push(validated(`excerpt ${excerpt.id}`, Excerpt, excerpt));
  }

  /**
   * Records a named number for the report, its unit last: `p50_ms`. Throws for NaN and infinity.
   */
  figure(name: string, value: Scalar): void {
    this.evidence.figures[name] = validated(`figure ${name}`, Scalar, value);
  }

  /** Records the check, then throws as `expect(actual).toEqual(expected)` does. */
  holds(label: string, actual: unknown, expected: unknown): void {
    const check = {
      label,
      held: false,
      expected: storableCopy(expected),
      actual: storableCopy(actual),
    };
    this.evidence.checks.push(check);
    expect(actual, label).toEqual(expected);
    check.held = true;
  }

  /** Prints progress on standard error. */
  progress(text: string): void {
    const { model, experiment: name } = this.evidence;
    const seconds = this.elapsedS().toFixed(1).padStart(6);
    process.stderr.write(`${seconds} s  ${model}/${name}: ${text}\n`);
  }

  /** Writes the evidence. Used by `runExperiment`. */
  async finish(failure: unknown): Promise<void> {
    const { evidence } = this;
    await this.#history?.close();
    evidence.duration_s = this.elapsedS();
    evidence.versions = {
      ...(await versions(evidence.model)),
      ...evidence.versions,
    };
    evidence.held = failure === undefined;
    if (failure !== undefined) {
      evidence.failure = explain(failure);
    }
    await this.#leaveBrokers();
    const file = await writeEvidence(this.#into, evidence);
    const checks = `${evidence.checks.filter((check) => check.held).length} of ${evidence.checks.length} checks held`;
    if (evidence.held) {
      this.removeFolder();
      this.progress(`held, ${checks}; evidence in ${here(file)}`);
    } else {
      this.progress(
        `did NOT hold, ${checks}; evidence in ${here(file)}, databases and logs in ${here(this.folder)}`,
      );
    }
  }

  async #leaveBrokers(): Promise<void> {
    for (const [name, broker] of this.#brokers) {
      try {
        await removeLeftovers(broker, this.namespace);
      } catch (error) {
        this.progress(`names that begin with ${this.namespace} stay on ${name}: ${explain(error)}`);
      }
      if (!this.evidence.held) await dropBroker(name);
    }
  }

  removeFolder(): void {
    rmSync(this.folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

/** An error's full text, without colours and this machine's folders. */
function explain(error: unknown): string {
  const parts: string[] = [];
  const add = (one: unknown, label: string) => {
    if (!(one instanceof Error)) {
      parts.push(`${label}${String(one)}`);
      return;
    }
    parts.push(`${label}${one.name}: ${one.message}`);
    const { errors, error: last, suppressed, cause } = one as SuppressedError & AggregateError;
    if (one instanceof AggregateError) for (const each of errors) add(each, "- ");
    if (one instanceof SuppressedError) {
      add(suppressed, "first: ");
      add(last, "then, when cleaning up: ");
    }
    if (cause !== undefined) add(cause, "because: ");
  };
  add(error, "");
  return Bun.stripANSI(parts.join("\n")).replaceAll(`${repoFolder}/`, "");
}

/** A path relative to the clone, as the commands print it. */
function here(path: string): string {
  const fromRoot = relative(repoFolder, path);
  return fromRoot.startsWith("..") ? path : fromRoot;
}
