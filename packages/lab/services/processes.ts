import { readFileSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { addressVariable, type Broker } from "../brokers/broker.ts";
import { openContainers } from "./compose-services.ts";
import type { Model } from "@lab/evidence/evidence";
import type { ShownHealth } from "./health.ts";
import { STOP_GRACE_MS } from "@lab/runtime/limits";
import { factsOf } from "../brokers/model-facts.ts";
import { freePorts } from "../host/ports.ts";
import { type ProcessHandle, spawnService } from "./process-handle.ts";
import { eventually } from "../host/waiting.ts";

/** A process that still runs when the runtime has given up its stop hangs. */
export const STOP_TIMEOUT_MS = STOP_GRACE_MS + 2_000;

export interface ServiceOptions {
  model: Model;
  /** Its file's name: `inventory-service`. */
  service: string;
  /**
   * Its environment besides PATH, HOME, TMPDIR and `BUN_ENV`: it gets nothing else of the caller's
   * environment.
   */
  env?: Record<string, string>;
  /** The folder of its database and its log. */
  folder: string;
  /** Outlives the calling process, as `lab up` needs. */
  lasting?: boolean;
  /** Called with each process's id at once, long before it is ready. */
  onSpawn?: (pid: number) => void;
  /** Starts it in another way than as a process of this machine. */
  spawn?: (env: Record<string, string>) => Promise<ProcessHandle>;
}

/**
 * Starts a service from its file and returns once it has logged `ready`. Without PORT it gets a
 * free port. Throws with its exit code and the end of its log when it ends before that.
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

/** A running service, which can be killed, paused and restarted. */
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
  /** Whether its end was requested here. */
  #endWanted = false;
  /** Whether it was started so that it will crash (LAB_CRASH_AT, or a preload that kills it). */
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

  /** The byte of its log at which the present process begins. */
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

  /** SIGKILL; returns when it has ended. Throws when it had ended by itself. */
  async kill(): Promise<void> {
    const body = this.#running();
    await this.#refuseOwnEnd(body);
    this.#endWanted = true;
    await body.signal("SIGKILL");
    await this.exited;
    this.#paused = false;
  }

  /** SIGSTOP: it stays alive and answers nothing. */
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
   * SIGTERM; returns its exit code. Throws, after SIGKILL, when it doesn't end; and when it had
   * already ended without a request from here.
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
   * Starts it again on the same port and database with the same environment, and with `env` added
   * for this start only; stops it first if it still runs. Returns once it is ready. Throws when it
   * had ended by itself, and when that stop failed.
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
    // A process that was started to crash is expected to end.
    this.#endWanted = this.#willCrash;
    try {
      const url = await this.#untilReady(this.#body, logStart);
      this.#url = this.#body.url ?? url;
    } catch (error) {
      // The error reports that it ended; whoever catches it may start it again.
      this.#endWanted = true;
      await this.kill();
      throw error;
    }
  }

  /**
   * Starts one more process of the same service, on the same database, with a port and a log of its
   * own and `env` added. The caller must end it.
   */
  another(folder: string, env: Record<string, string> = {}): Promise<ServiceProcess> {
    const { PORT: _, ...shared } = this.#env;
    const { model, name: service } = this;
    return startService({ model, service, folder, env: { ...shared, ...env } });
  }

  /**
   * Returns once `GET /health` answers 200. Throws as soon as it has ended, or reports a problem,
   * which waiting doesn't resolve.
   */
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
      // A dead group member takes seconds to be removed: polling more often would only add load.
      { everyMs: 100 },
    );
    if (problems.length > 0) {
      throw new Error(`${this.name} can't do its work:\n  ${problems.join("\n  ")}`);
    }
    if (ended === undefined) return;
    throw new Error(
      `${this.name} ended before it was healthy, with exit code ${ended}:\n${this.#logEnd()}`,
    );
  }

  /** Stops it if it runs. Throws when it had ended without a request from here. */
  async [Symbol.asyncDispose](): Promise<void> {
    const body = this.#running();
    if (body.hasEnded) await this.#refuseOwnEnd(body);
    else await this.stop();
  }

  /** Throws where the service has crashed, so that a restart can't hide it. */
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
      async () => {
        // Checked first, so that the log is complete when it has ended.
        const ended = body.hasEnded;
        const ready = readyLine(await Bun.file(this.logFile).slice(logStart).text());
        return ready ?? (ended && { url: undefined });
      },
      { everyMs: 20 },
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
  /** The started ones, in the order of the model's facts. */
  readonly services: ServiceProcess[];
}

export interface ModelOptions {
  folder: string;
  /** For every service; faults are on unless it sets LAB_FAULTS. */
  env?: Record<string, string>;
  /** Only these; accessing the others throws. */
  services?: readonly string[];
  /** By service; the others get free ports. */
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
 * Starts the services of a model concurrently and returns once each is healthy. When one doesn't
 * start, the others are stopped and its error is thrown.
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

/** The environment of each of a model's services, by name. */
export async function modelEnv(
  model: Model,
  options: Pick<ModelOptions, "broker" | "env" | "namespace" | "ports">,
): Promise<(service: string) => Record<string, string>> {
  const { calls, services: names } = factsOf(model);
  // All ports are chosen before the first start, so that no service has to wait for a neighbour's.
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

/** Stops each, even when another's stop throws. */
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

/** The problems in an answer of `GET /health`. */
function problemsIn(health: string): string[] {
  return (JSON.parse(health) as Partial<ShownHealth>).problems ?? [];
}

/** The url of the log's `ready` line; undefined when there is none yet. */
function readyLine(log: string): { url: string } | undefined {
  for (const line of log.split("\n")) {
    if (!line.includes('"ready"')) continue;
    try {
      const { event, url } = JSON.parse(line) as Record<string, unknown>;
      if (event === "ready" && typeof url === "string") return { url };
    } catch {
      // An incomplete line: the rest follows.
    }
  }
  return undefined;
}
