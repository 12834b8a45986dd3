import type { Subprocess } from "bun";
import { closeSync, openSync, readFileSync, statSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { atExit } from "./at-exit.ts";
import type { Model } from "./evidence.ts";
import { repoFolder } from "./folders.ts";
import { freePorts } from "./ports.ts";
import { eventually } from "./waiting.ts";

/** The services of each model: who takes the order, who reserves, and the third. */
export const SERVICES = {
  "sync-rest": ["order-service", "inventory-service", "notification-service"],
  "async-rabbitmq": ["order-service", "inventory-service", "notification-service"],
  "streaming-kafka": ["order-producer", "inventory-consumer", "analytics-consumer"],
} as const satisfies Record<Model, readonly [string, string, string]>;

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
  detached?: boolean;
  /** Called with each process's id at once, long before it is ready. */
  onSpawn?: (pid: number) => void;
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

/** A service as a process: something to kill, pause and start again. */
export class ServiceProcess implements AsyncDisposable {
  readonly model: Model;
  readonly name: string;
  readonly database: string;
  readonly logFile: string;
  readonly #env: Record<string, string>;
  readonly #detached: boolean;
  readonly #onSpawn: ServiceOptions["onSpawn"];
  #child: Child | undefined;
  #url = "";
  /** Whether it ends because somebody here wanted it to. */
  #endWanted = false;
  #guard: Child | undefined;

  /** Use `startService`. */
  constructor(options: ServiceOptions, env: Record<string, string>) {
    this.model = options.model;
    this.name = options.service;
    this.database = env["DATABASE"] ?? "";
    this.logFile = join(options.folder, `${options.service}.log`);
    this.#env = env;
    this.#detached = options.detached ?? false;
    this.#onSpawn = options.onSpawn;
  }

  get url(): string {
    return this.#url;
  }

  get pid(): number {
    return this.#running().pid;
  }

  /** Resolves when the present process has ended: its exit code, or 128 + the signal's number. */
  get exited(): Promise<number> {
    return this.#running().exited;
  }

  /** SIGKILL; returns when it's gone. */
  async kill(): Promise<void> {
    this.#endWanted = true;
    this.#running().kill("SIGKILL");
    await this.exited;
    await this.#endGuard();
  }

  /** SIGSTOP: it lives and answers nothing. */
  async pause(): Promise<void> {
    // A stopped process can't notice that its lifeline ends: somebody must wake it.
    this.#guard ??= spawnGuard(this.pid);
    process.kill(this.pid, "SIGSTOP");
  }

  /** SIGCONT. */
  async resume(): Promise<void> {
    process.kill(this.pid, "SIGCONT");
    await this.#endGuard();
  }

  /** SIGTERM; returns its exit code. Throws, after SIGKILL, when it doesn't end by itself. */
  async stop(): Promise<number> {
    const child = this.#running();
    this.#endWanted = true;
    if (child.exitCode === null && child.signalCode === null) {
      if (this.#guard !== undefined) await this.resume();
      child.kill("SIGTERM");
    }
    try {
      return await eventually(
        `${this.name} (process ${child.pid}) stops`,
        async () => ({ code: await child.exited }),
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
   * once it is ready.
   */
  async restart(env: Record<string, string> = {}): Promise<void> {
    if (this.#child !== undefined) await this.stop();
    const logStart = sizeOf(this.logFile);
    this.#child = this.#spawn({ ...this.#env, ...env });
    this.#onSpawn?.(this.pid);
    this.#endWanted = false;
    try {
      this.#url = await this.#untilReady(this.#child, logStart);
    } catch (error) {
      await this.kill();
      throw error;
    }
  }

  /** Returns once `GET /health` answers 200. */
  async healthy(): Promise<void> {
    await eventually(
      `${this.name} is healthy`,
      async () => {
        const answer = await fetch(`${this.url}/health`);
        if (!answer.ok) throw new Error(await answer.text());
        return true;
      },
      { everyMs: 5 },
    );
  }

  /** Stops it if it runs. Throws when it had ended though nobody here wanted it to. */
  async [Symbol.asyncDispose](): Promise<void> {
    const child = this.#running();
    const ended = child.exitCode !== null || child.signalCode !== null;
    if (!ended) await this.stop();
    else if (!this.#endWanted) {
      throw new Error(
        `${this.name} had ended by itself with exit code ${await child.exited}:\n${this.#logEnd()}`,
      );
    }
  }

  #running(): Child {
    if (this.#child === undefined) {
      throw new Error(`${this.name} was never started`);
    }
    return this.#child;
  }

  #spawn(env: Record<string, string>): Child {
    const file = join(repoFolder, this.model, `${this.name}.ts`);
    const log = openSync(this.logFile, "a");
    try {
      // A .env file is for people who start a service by hand.
      return spawnChild([process.execPath, "--no-env-file", file], {
        name: this.name,
        env: this.#detached ? env : { ...env, LAB_LIFELINE: "stdin" },
        log,
        detached: this.#detached,
      });
    } finally {
      closeSync(log);
    }
  }

  async #untilReady(child: Child, logStart: number): Promise<string> {
    const outcome = await eventually(
      `${this.name} is ready`,
      () => {
        // Looked at first, so that the log is complete when it has ended.
        const ended = child.exitCode !== null || child.signalCode !== null;
        const ready = readyLine(readFileSync(this.logFile), logStart);
        return ready ?? (ended && { url: undefined });
      },
      { everyMs: 2 },
    );
    if (outcome.url !== undefined) return outcome.url;
    this.#endWanted = true;
    throw new Error(
      `${this.name} ended before it was ready, with exit code ${await child.exited}:\n${this.#logEnd(logStart)}`,
    );
  }

  #logEnd(from = 0): string {
    const log = readFileSync(this.logFile).subarray(from).toString();
    return log.trimEnd().split("\n").slice(-20).join("\n");
  }

  async #endGuard(): Promise<void> {
    const guard = this.#guard;
    this.#guard = undefined;
    guard?.kill("SIGKILL");
    await guard?.exited;
  }
}

/** The running services of one model. */
export interface Campus extends AsyncDisposable {
  readonly model: Model;
  /** Takes the orders: order-service or order-producer. */
  readonly order: ServiceProcess;
  readonly inventory: ServiceProcess;
  /** notification-service or analytics-consumer. */
  readonly third: ServiceProcess;
  /** Those that were started, in the order of `SERVICES`. */
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
  amqpUrl?: string;
  kafkaBrokers?: string;
  /** Prefix of queues, topics and groups. */
  namespace?: string;
  detached?: boolean;
  /** Called with a service's name and process id at once, long before it is ready. */
  onSpawn?: (service: string, pid: number) => void;
}

/**
 * Starts the services of a model side by side and returns once each is healthy.
 * When one doesn't start, the others are stopped and its error is thrown.
 */
export async function startModel(model: Model, options: ModelOptions): Promise<Campus> {
  const names = SERVICES[model];
  const wanted = names.filter((name) => options.services?.includes(name) ?? true);
  const env = await modelEnv(model, options);
  const started = await Promise.allSettled(
    wanted.map((service) =>
      startService({
        model,
        service,
        folder: options.folder,
        detached: options.detached ?? false,
        env: env(service),
        onSpawn: (pid) => options.onSpawn?.(service, pid),
      }),
    ),
  );
  const services = started.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const dispose = () => disposeAll(services);
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
    get third() {
      return of(names[2]);
    },
    services,
    [Symbol.asyncDispose]: dispose,
  };
}

/** Kills every service that this process has started and that isn't detached; gives the names of those that still ran. */
export function killServices(): string[] {
  const names = [...children.values()];
  for (const child of children.keys()) child.kill("SIGKILL");
  return names;
}

async function modelEnv(
  model: Model,
  options: ModelOptions,
): Promise<(service: string) => Record<string, string>> {
  const names = SERVICES[model];
  // All ports are known before the first start, so that nobody has to wait for a neighbour's.
  const free = await freePorts(names.length);
  const port = (name: string) =>
    options.ports?.[name] ?? free[(names as readonly string[]).indexOf(name)];
  const urlOf = (name: string) => `http://127.0.0.1:${port(name)}`;
  const set = (name: string, value: string | undefined) =>
    value === undefined ? {} : { [name]: value };
  return (service) => ({
    LAB_FAULTS: "on",
    PORT: String(port(service)),
    ...(model === "sync-rest" && service === names[0]
      ? { INVENTORY_URL: urlOf(names[1]), NOTIFICATION_URL: urlOf(names[2]) }
      : {}),
    ...set("AMQP_URL", options.amqpUrl),
    ...set("KAFKA_BROKERS", options.kafkaBrokers),
    ...set("LAB_NAMESPACE", options.namespace),
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

type Child = Subprocess<"pipe" | "ignore", number, number>;

// Whoever is in here holds a lifeline: a pipe that nobody refers to would be collected, and closed.
const children = new Map<Child, string>();
let forgetExit: (() => void) | undefined;

function spawnChild(
  command: string[],
  options: {
    name: string;
    env: Record<string, string>;
    log: number;
    detached: boolean;
  },
): Child {
  const { PATH = "/usr/bin:/bin", HOME, TMPDIR } = process.env;
  const child = Bun.spawn(command, {
    cwd: repoFolder,
    env: {
      PATH,
      ...(HOME === undefined ? {} : { HOME }),
      ...(TMPDIR === undefined ? {} : { TMPDIR }),
      // Bun's `fetch` queues silently beyond 256: a hung neighbour would be taken for a slow client.
      BUN_CONFIG_MAX_HTTP_REQUESTS: "4096",
      ...options.env,
    },
    stdin: options.detached ? "ignore" : "pipe",
    stdout: options.log,
    stderr: options.log,
    // A session of its own: Ctrl-C in the terminal reaches the lab alone, which stops them in order.
    detached: true,
  });
  if (options.detached) {
    child.unref();
    return child;
  }
  children.set(child, options.name);
  forgetExit ??= atExit(() => void killServices());
  void child.exited.then(() => {
    children.delete(child);
    if (children.size > 0) return;
    forgetExit?.();
    forgetExit = undefined;
  });
  return child;
}

/** Wakes a stopped process when this one has died, so that it finds its own lifeline cut. */
function spawnGuard(pid: number): Child {
  const log = openSync("/dev/null", "w");
  try {
    const script = `trap '' HUP INT TERM; read -r _; kill -CONT ${pid}`;
    return spawnChild(["sh", "-c", script], {
      name: `guard of ${pid}`,
      env: {},
      log,
      detached: false,
    });
  } finally {
    closeSync(log);
  }
}

function sizeOf(file: string): number {
  return statSync(file, { throwIfNoEntry: false })?.size ?? 0;
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
