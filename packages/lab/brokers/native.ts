import { closeSync, existsSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type Broker,
  type BrokerName,
  dataLost,
  type NativePlan,
  type ProxiedListener,
} from "./broker.ts";
import {
  holdLifeline,
  killGroup,
  lifelineEnds,
  releaseLifeline,
  removeFolder,
  spawnUnderLifeline,
} from "../host/lifeline.ts";
import { assertPortsFree } from "../host/ports.ts";
import { moveManagement } from "./rabbitmq.ts";
import { type Identity, identityOf, isPaused, pauseProcess, runs } from "../host/process-id.ts";
import { eventually } from "../host/waiting.ts";

const startTimeoutMs = 120_000;

/** What is stored in the broker's folder. */
interface Written {
  plan: NativePlan;
  /** The folder of the lifeline with which it ends; a lasting broker, as of `lab up`, has none. */
  lifeline?: string;
}

/** A client's first request, which returns the broker's versions; throws while it isn't up. */
type Probe = (plan: NativePlan) => Promise<Record<string, string>>;

/**
 * Starts the broker and returns when it answers. With a lifeline's folder, its own or another one,
 * it ends with this process, and that folder is removed; without one, it outlives this process.
 * Throws with the end of its log when it doesn't start.
 */
export async function runNative(
  plan: NativePlan,
  lifeline: string | undefined,
  probe: Probe,
): Promise<Broker> {
  if (lifeline !== undefined) holdLifeline(lifeline);
  const written = await writePlan(plan, lifeline);
  const ours = new NativeBroker(written, probe);
  const stop = async () => {
    await ours.kill();
    if (lifeline === undefined) return;
    releaseLifeline(lifeline);
    await removeFolder(lifeline);
  };
  try {
    await ours.start();
  } catch (error) {
    await stop();
    throw error;
  }
  // A lasting broker is ended by `lab down`, not by the process that started it.
  return lifeline === undefined ? ours : ours.ownedBy(stop);
}

/** Whether that folder has the data of a broker that is or was a process. */
export function isNative(folder: string): boolean {
  return existsSync(planFile(folder));
}

/** Restarts the ended broker of that folder, on its data and ports. Throws as `runNative` does, for a port in use, and for lost data. */
export async function runNativeAgain(
  folder: string,
  lifeline: string | undefined,
  probe: Probe,
): Promise<Broker> {
  const { lifeline: former, plan } = await readPlan(folder);
  if (plan.folder !== folder) {
    throw new Error(
      `${plan.name}'s data were moved here from ${plan.folder}: they go on there only`,
    );
  }
  // RabbitMQ would silently start with an empty database.
  if (existsSync(answeredFile(plan)) && !existsSync(plan.data ?? plan.folder)) {
    throw new Error(
      `${plan.name}'s data are gone: there is no ${plan.data} any more; scripts/lab up --fresh begins anew`,
    );
  }
  if (former !== undefined) await lifelineEnds(former);
  // The port of the management page must not prevent a start.
  const needed = plan.ports.filter((port) => !plan.managementUrl?.endsWith(`:${port}`));
  await assertPortsFree(plan.name, needed);
  return runNative(plan, lifeline, probe);
}

/** The broker of that folder, which another process has started and will end; undefined when it doesn't run. */
export async function attachNative(folder: string, probe: Probe): Promise<Broker | undefined> {
  const running = await runningProcess(folder);
  if (running === undefined) return undefined;
  const broker = new NativeBroker(await readPlan(folder), probe);
  if (isPaused(running.pid)) {
    throw new Error(
      `${broker.name} is paused: kill -CONT ${running.pid} lets it go on, kill -9 ${running.pid} ends it`,
    );
  }
  await broker.untilItAnswers();
  return broker;
}

/** SIGKILL for the broker of that folder; returns, once it has ended, whether it ran. */
export async function killNative(folder: string): Promise<boolean> {
  const running = await runningProcess(folder);
  if (running === undefined) return false;
  killGroup(running.pid);
  await eventually(`process ${running.pid} ends`, () => !runs(running));
  return true;
}

/** Process id of the broker of that folder; undefined when it doesn't run. */
export async function nativePid(folder: string): Promise<number | undefined> {
  return (await runningProcess(folder))?.pid;
}

class NativeBroker implements Broker {
  readonly kind = "native";
  readonly name: BrokerName;
  readonly address: string;
  readonly folder: string;
  readonly #plan: NativePlan;
  readonly #lifeline: string | undefined;
  readonly #probe: Probe;
  #told: Record<string, string> = {};
  #stop = async () => {};

  constructor({ lifeline, plan }: Written, probe: Probe) {
    this.name = plan.name;
    this.address = plan.address;
    this.folder = plan.folder;
    this.#plan = plan;
    this.#lifeline = lifeline;
    this.#probe = probe;
  }

  get managementUrl(): string | undefined {
    return this.#plan.managementUrl;
  }

  get proxied(): ProxiedListener | undefined {
    return this.#plan.proxied;
  }

  get versions(): Record<string, string> {
    return { ...this.#plan.versions, ...this.#told };
  }

  async start(): Promise<void> {
    const { folder, name } = this.#plan;
    if ((await nativePid(folder)) !== undefined) {
      throw new Error(`${name} runs already`);
    }
    await this.#freeManagement();
    await spawnNative(this.#plan, this.#lifeline);
    try {
      await this.untilItAnswers();
      await Bun.write(answeredFile(this.#plan), "It has answered once: since then it has data.\n");
    } catch (error) {
      await killNative(folder);
      // The port was taken between the check and the start.
      if (await this.#freeManagement()) return this.start();
      const log = await readFile(logFile(this.#plan), "utf8");
      const end = Bun.stripANSI(log).trimEnd().split("\n").slice(-40);
      throw new Error(`${(error as Error).message}\n${end.join("\n")}`);
    }
  }

  async #freeManagement(): Promise<boolean> {
    const moved = await moveManagement(this.#plan);
    if (moved) await writePlan(this.#plan, this.#lifeline);
    return moved;
  }

  /** Returns once it answers a client; throws when the process ends before. */
  async untilItAnswers(): Promise<void> {
    const told = await eventually(
      `${this.name} answers`,
      async () => {
        const pid = await nativePid(this.#plan.folder);
        if (pid === undefined) return "ended";
        return this.#probe(this.#plan);
      },
      { timeoutMs: startTimeoutMs },
    );
    if (told === "ended") throw new Error(`${this.name} ended`);
    this.#told = told as Record<string, string>;
  }

  async kill(): Promise<void> {
    await killNative(this.#plan.folder);
  }

  async pause(): Promise<void> {
    await pauseProcess(await this.#pid());
  }

  async resume(): Promise<void> {
    process.kill(await this.#pid(), "SIGCONT");
  }

  /** Makes `stop` end it. */
  ownedBy(stop: () => Promise<void>): this {
    this.#stop = stop;
    return this;
  }

  stop(): Promise<void> {
    return this.#stop();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#stop();
  }

  /** Of the process alone, not its group: its watcher must not be paused. */
  async #pid(): Promise<number> {
    const pid = await nativePid(this.#plan.folder);
    if (pid === undefined) throw new Error(`${this.name} doesn't run`);
    return pid;
  }
}

async function runningProcess(folder: string): Promise<Identity | undefined> {
  try {
    const identity = JSON.parse(await readFile(processFile(folder), "utf8")) as Identity;
    return runs(identity) ? identity : undefined;
  } catch (error) {
    // A partial file, as after a power failure, counts as none.
    if (error instanceof SyntaxError) return undefined;
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

const planFile = (folder: string) => join(folder, "plan.json");
const processFile = (folder: string) => join(folder, "process.json");
const answeredFile = ({ folder }: NativePlan) => join(folder, "answered");
const logFile = ({ folder, name }: NativePlan) => join(folder, `${name}.log`);

async function writePlan(plan: NativePlan, lifeline: string | undefined): Promise<Written> {
  const written: Written = { plan, ...(lifeline === undefined ? {} : { lifeline }) };
  await Bun.write(planFile(plan.folder), JSON.stringify(written));
  return written;
}

async function readPlan(folder: string): Promise<Written> {
  try {
    return JSON.parse(await readFile(planFile(folder), "utf8")) as Written;
  } catch (error) {
    throw dataLost(`${planFile(folder)} can't be read: ${(error as Error).message}`);
  }
}

async function spawnNative(plan: NativePlan, lifeline: string | undefined): Promise<void> {
  const { command, folder } = plan;
  const log = openSync(logFile(plan), "a");
  try {
    // Without the caller's settings: a RABBITMQ_… or JAVA_TOOL_OPTIONS meant for another broker
    // would affect ours.
    const env = {
      PATH: process.env["PATH"] ?? "/usr/bin:/bin",
      LANG: "C.UTF-8",
      HOME: folder,
      ...plan.env,
    };
    const child =
      lifeline !== undefined
        ? spawnUnderLifeline(lifeline, command, { cwd: folder, env, output: log })
        : Bun.spawn(command, {
            cwd: folder,
            env,
            stdin: "ignore",
            stdout: log,
            stderr: log,
            detached: true,
          });
    child.unref();
    await Bun.write(processFile(folder), JSON.stringify(identityOf(child.pid)));
  } finally {
    closeSync(log);
  }
}
