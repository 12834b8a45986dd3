import { readFileSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { addressVariable, type Broker } from "../brokers/broker.ts";
import { openContainers } from "./compose-services.ts";
import type { Model } from "@lab/evidence/evidence";
import type { ShownHealth } from "./health.ts";
import { factsOf } from "../brokers/model-facts.ts";
import { freePorts } from "../host/ports.ts";
import { type ProcessHandle, spawnService } from "./process-handle.ts";
import { eventually } from "../host/waiting.ts";

/** The runtime gives up a stop after 10 s; who is still there then is hung. */
const STOP_TIMEOUT_MS = 12_000;

export interface ServiceOptions {
  model: Model;
  /** Its file's name: `inventory-service`. */
  service: string;
  /** All that it gets beside PATH, HOME and TMPDIR: nothing else of the caller's environment reaches it. */
  env?: Record<string, string>;
  /** Where its database and its log go. */
  folder: string;
  /** Goes on after the caller's end, as `lab up` wants it. */
  lasting?: boolean;
  /** Called with each process's id at once, long before it is ready. */
  onSpawn?: (pid: number) => void;
  /** Starts it as something else than a process of this machine. */
  spawn?: (env: Record<string, string>) => Promise<ProcessHandle>;
}

/**
 * Starts a service from its file and returns once it has said `ready`. Without
 * PORT it gets a free port. Throws with its exit code and the end of its log
 * when it ends before that.
 */
export async function startService(options: ServiceOptions): Promise<ServiceProcess> {
  await mkdir(options.folder, { recursive: true });
  const env: Record<string, string> = {
    DATABASE: join(options.folder, `${options.service}.sqlite`),
    ...options.env,
  };
  // Chosen here and not by PORT=0, for the reason that ports.ts gives.
  if (!env["PORT"]) env["PORT"] = String((await freePorts(1))[0]);
  const service = new ServiceProcess(options, env);
  await service.restart();
  return service;
}

/** A service that runs: something to kill, pause and start again. */
export class ServiceProcess implements AsyncDisposable {
  readonly model: Model;
  readonly name: string;
  readonly database: string;
  readonly logFile: string;
  readonly #env: Record<string, string>;
  readonly #spawn: NonNullable<ServiceOptions["spawn"]>;
  readonly #onSpawn: ServiceOptions["onSpawn"];
  #body: ProcessHandle | undefined;
  #url = "";
  /** Whether it ends because somebody here wanted it to. */
  #endWanted = false;
  /** Whether it was started with a crash ahead (LAB_CRASH_AT, or something preloaded that kills it). */
  #willCrash = false;
  #paused = false;
  #logStart = 0;

  /** Use `startService`. */
  constructor(options: ServiceOptions, env: Record<string, string>) {
    this.model = options.model;
    this.name = options.service;
    this.database = env["DATABASE"] ?? "";
    this.logFile = join(options.folder, `${options.service}.log`);
    this.#env = env;
    this.#spawn = options.spawn ?? (async (own) => spawnService(options, this.logFile, own));
    this.#onSpawn = options.onSpawn;
  }

  get url(): string {
    return this.#url;
  }

  /** At which byte of its log the present process begins. */
  get logStart(): number {
    return this.#logStart;
  }

  get pid(): number {
    return this.#running().pid;
  }

  /** Resolves when the present process has ended: its exit code, or 128 + the signal's number. */
  get exited(): Promise<number> {
    return this.#running().exited;
  }

  /** SIGKILL; returns when it's gone. Throws when it had ended by itself. */
  async kill(): Promise<void> {
    const body = this.#running();
    await this.#refuseOwnEnd(body);
    this.#endWanted = true;
    await body.signal("SIGKILL");
    await this.exited;
    this.#paused = false;
  }

  /** SIGSTOP: it lives and answers nothing. */
  async pause(): Promise<void> {
    await this.#running().signal("SIGSTOP");
    this.#paused = true;
  }

  /** SIGCONT. */
  async resume(): Promise<void> {
    await this.#running().signal("SIGCONT");
    this.#paused = false;
  }

  /**
   * SIGTERM; returns its exit code. Throws, after SIGKILL, when it doesn't end; and when it had ended
   * before, though nobody here wanted it to.
   */
  async stop(): Promise<number> {
    const body = this.#running();
    await this.#refuseOwnEnd(body);
    this.#endWanted = true;
    if (!body.hasEnded) {
      if (this.#paused) await this.resume();
      await body.signal("SIGTERM");
    }
    try {
      return await eventually(
        `${this.name} (process ${body.pid}) stops`,
        async () => ({ code: await body.exited }),
        { timeoutMs: STOP_TIMEOUT_MS },
      ).then(({ code }) => code);
    } catch (error) {
      await this.kill();
      throw error;
    }
  }

  /**
   * Starts it again on the same port and database with the same environment,
   * `env` on top for this one start; stops it before if it still runs. Returns
   * once it is ready. Throws when it had ended by itself, and when that stop went wrong.
   */
  async restart(env: Record<string, string> = {}): Promise<void> {
    if (this.#body !== undefined) {
      const ran = !this.#body.hasEnded;
      const code = await this.stop();
      if (ran && code !== 0 && !this.#willCrash) {
        throw new Error(`${this.name} stopped with exit code ${code}:\n${this.#logEnd()}`);
      }
    }
    const logStart = sizeOf(this.logFile);
    this.#logStart = logStart;
    this.#body = await this.#spawn({ ...this.#env, ...env });
    this.#onSpawn?.(this.pid);
    const own = { ...this.#env, ...env };
    this.#willCrash = "LAB_CRASH_AT" in own || "BUN_OPTIONS" in own;
    // One that was started so is expected to end.
    this.#endWanted = this.#willCrash;
    try {
      const url = await this.#untilReady(this.#body, logStart);
      this.#url = this.#body.url ?? url;
    } catch (error) {
      // The error tells that it ended; whoever catches it may start it again.
      this.#endWanted = true;
      await this.kill();
      throw error;
    }
  }

  /**
   * Starts one more process of the same service, on the same database, with a port and a log of its
   * own; `env` on top. Whoever calls it ends it.
   */
  another(folder: string, env: Record<string, string> = {}): Promise<ServiceProcess> {
    const { PORT: _, ...shared } = this.#env;
    const { model, name: service } = this;
    return startService({ model, service, folder, env: { ...shared, ...env } });
  }

  /** Returns once `GET /health` answers 200. Throws as soon as it has ended, or names a problem: that won't pass by waiting. */
  async healthy(): Promise<void> {
    const { ended, problems } = await eventually(
      `${this.name} is healthy`,
      async () => {
        const body = this.#running();
        if (body.hasEnded) return { ended: await body.exited, problems: [] };
        const answer = await fetch(`${this.url}/health`);
        const text = await answer.text();
        const problems = problemsIn(text);
        if (!answer.ok && problems.length === 0) throw new Error(text);
        return { ended: undefined, problems };
      },
      // A dead group member is missed for seconds: asking more often would only cost.
      { everyMs: 25 },
    );
    if (problems.length > 0) {
      throw new Error(`${this.name} can't do its work:\n  ${problems.join("\n  ")}`);
    }
    if (ended === undefined) return;
    throw new Error(
      `${this.name} ended before it was healthy, with exit code ${ended}:\n${this.#logEnd()}`,
    );
  }

  /** Stops it if it runs. Throws when it had ended though nobody here wanted it to. */
  async [Symbol.asyncDispose](): Promise<void> {
    const body = this.#running();
    if (body.hasEnded) await this.#refuseOwnEnd(body);
    else await this.stop();
  }

  /** A service that crashed must not be brought back unnoticed. */
  async #refuseOwnEnd(body: ProcessHandle): Promise<void> {
    if (!body.hasEnded || this.#endWanted) return;
    throw new Error(
      `${this.name} had ended by itself with exit code ${await body.exited}:\n${this.#logEnd()}`,
    );
  }

  #running(): ProcessHandle {
    if (this.#body === undefined) {
      throw new Error(`${this.name} was never started`);
    }
    return this.#body;
  }

  async #untilReady(body: ProcessHandle, logStart: number): Promise<string> {
    const outcome = await eventually(
      `${this.name} is ready`,
      () => {
        // Looked at first, so that the log is complete when it has ended.
        const ended = body.hasEnded;
        const ready = readyLine(readFileSync(this.logFile), logStart);
        return ready ?? (ended && { url: undefined });
      },
      { everyMs: 2 },
    );
    if (outcome.url !== undefined) return outcome.url;
    this.#endWanted = true;
    throw new Error(
      `${this.name} ended before it was ready, with exit code ${await body.exited}:\n${this.#logEnd(logStart)}`,
    );
  }

  #logEnd(from = 0): string {
    const log = readFileSync(this.logFile).subarray(from).toString();
    return log.trimEnd().split("\n").slice(-20).join("\n");
  }
}

/** The running services of one model. */
export interface Campus extends AsyncDisposable {
  readonly model: Model;
  /** Takes the orders: order-service or order-producer. */
  readonly order: ServiceProcess;
  readonly inventory: ServiceProcess;
  /** notification-service or analytics-consumer. */
  readonly downstream: ServiceProcess;
  /** Those that were started, in the order of the model's facts. */
  readonly services: ServiceProcess[];
}

export interface ModelOptions {
  folder: string;
  /** For every service; faults are on unless it says otherwise. */
  env?: Record<string, string>;
  /** Only these; the others throw when they are asked for. */
  services?: readonly string[];
  /** By service; the others get free ones. */
  ports?: Record<string, number>;
  broker?: Pick<Broker, "name" | "address"> | undefined;
  /** Prefix of queues, topics and groups. */
  namespace?: string;
  /** As in `ServiceOptions`. */
  lasting?: boolean;
  /** Called with a service's name and process id at once, long before it is ready. */
  onSpawn?: (service: string, pid: number) => void;
}

/**
 * Starts the services of a model side by side and returns once each is healthy.
 * When one doesn't start, the others are stopped and its error is thrown.
 */
export async function startModel(model: Model, options: ModelOptions): Promise<Campus> {
  const names = factsOf(model).services;
  const wanted = names.filter((name) => options.services?.includes(name) ?? true);
  const env = await modelEnv(model, options);
  const containers = await openContainers(model, options.broker?.address);
  const started = await Promise.allSettled(
    wanted.map((service) =>
      startService({
        model,
        service,
        folder: options.folder,
        lasting: options.lasting ?? false,
        env: env(service),
        onSpawn: (pid) => options.onSpawn?.(service, pid),
        ...(containers && {
          spawn: (own) => containers.spawn(service, options.folder, own),
        }),
      }),
    ),
  );
  const services = started.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const dispose = async () => {
    try {
      await disposeAll(services);
    } finally {
      await containers?.end();
    }
  };
  const of = (name: string) => {
    const service = services.find((one) => one.name === name);
    if (service === undefined) throw new Error(`${name} wasn't started`);
    return service;
  };
  try {
    for (const one of started) {
      if (one.status === "rejected") throw one.reason;
    }
    await Promise.all(services.map((service) => service.healthy()));
  } catch (error) {
    await dispose().catch(() => {});
    throw error;
  }
  return {
    model,
    get order() {
      return of(names[0]);
    },
    get inventory() {
      return of(names[1]);
    },
    get downstream() {
      return of(names[2]);
    },
    services,
    [Symbol.asyncDispose]: dispose,
  };
}

async function modelEnv(
  model: Model,
  options: ModelOptions,
): Promise<(service: string) => Record<string, string>> {
  const { calls, services: names } = factsOf(model);
  // All ports are known before the first start, so that nobody has to wait for a neighbour's.
  const free = await freePorts(names.length);
  const port = (name: string) => options.ports?.[name] ?? free[names.indexOf(name)];
  const urls = Object.entries(calls).map(([variable, name]) => [
    variable,
    `http://127.0.0.1:${port(name)}`,
  ]);
  return (service) => ({
    LAB_FAULTS: "on",
    PORT: String(port(service)),
    ...(service === names[0] && Object.fromEntries(urls)),
    ...(options.broker && { [addressVariable[options.broker.name]]: options.broker.address }),
    ...(options.namespace === undefined ? {} : { LAB_NAMESPACE: options.namespace }),
    ...options.env,
  });
}

/** Each is stopped, also when another's stop throws. */
async function disposeAll(services: ServiceProcess[]): Promise<void> {
  const ends = await Promise.allSettled(services.map((service) => service[Symbol.asyncDispose]()));
  const errors = ends.flatMap((end) => (end.status === "rejected" ? [end.reason] : []));
  if (errors.length === 1) throw errors[0];
  if (errors.length > 1) {
    throw new AggregateError(errors, errors.map(String).join("\n"));
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
}

/** The problems that an answer of `GET /health` names. */
function problemsIn(health: string): string[] {
  return (JSON.parse(health) as Partial<ShownHealth>).problems ?? [];
}

/** The url of the `ready` line after that byte of the log; undefined when it isn't there yet. */
function readyLine(log: Buffer, from: number): { url: string } | undefined {
  for (const line of log.subarray(from).toString().split("\n")) {
    if (!line.includes('"ready"')) continue;
    try {
      const { event, url } = JSON.parse(line) as Record<string, unknown>;
      if (event === "ready" && typeof url === "string") return { url };
    } catch {
      // Half a line: the rest comes.
    }
  }
  return undefined;
}
