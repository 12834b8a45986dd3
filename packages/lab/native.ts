import { closeSync, openSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Broker, BrokerName } from "./brokers.ts";
import {
  holdLifeline,
  killGroup,
  releaseLifeline,
  removeFolder,
  spawnUnderLifeline,
} from "./lifeline.ts";
import { startStamp } from "./process-id.ts";
import { eventually } from "./waiting.ts";

const startTimeoutMs = 120_000;

/**
 * How to run one broker as a process of our own. Plain data: it stands in the
 * broker's folder, so that another process can kill it and start it again.
 */
export interface NativePlan {
  name: BrokerName;
  /** Its data, its settings and its log. */
  folder: string;
  address: string;
  managementUrl?: string;
  command: string[];
  env: Record<string, string>;
  /** As far as they are known before it runs. */
  versions: Record<string, string>;
}

/** Ends with the process that made it, together with its folder; or goes on, as `lab up` wants it. */
type Lifetime = "lifeline" | "lasting";

/** What a client does first, which tells the broker's versions; throws while it isn't up. */
type Greet = (plan: NativePlan) => Promise<Record<string, string>>;

/** Starts the broker and returns when it answers. Throws with the end of its log when it doesn't. */
export async function runNative(
  plan: NativePlan,
  lifetime: Lifetime,
  greet: Greet,
): Promise<Broker> {
  if (lifetime === "lifeline") holdLifeline(plan.folder);
  await Bun.write(planFile(plan.folder), JSON.stringify({ plan, lifetime }));
  const ours = new NativeBroker(plan, lifetime, greet);
  const stop = async () => {
    await ours.kill();
    releaseLifeline(plan.folder);
    await removeFolder(plan.folder);
  };
  try {
    await ours.start();
  } catch (error) {
    await stop();
    throw error;
  }
  // A lasting one is ended by `lab down`, not by whoever started it.
  return lifetime === "lifeline" ? ours.ownedBy(stop) : ours;
}

/** The broker of that folder, which another process has started and will end; undefined when it doesn't run. */
export async function attachNative(folder: string, greet: Greet): Promise<Broker | undefined> {
  if ((await runningProcess(folder)) === undefined) return undefined;
  const { plan, lifetime } = JSON.parse(await readFile(planFile(folder), "utf8")) as {
    plan: NativePlan;
    lifetime: Lifetime;
  };
  const broker = new NativeBroker(plan, lifetime, greet);
  await broker.untilItAnswers();
  return broker;
}

/** SIGKILL for the broker of that folder; returns when it's gone: whether it ran. */
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
  readonly managementUrl?: string;
  readonly folder: string;
  readonly #plan: NativePlan;
  readonly #lifetime: Lifetime;
  readonly #greet: Greet;
  #told: Record<string, string> = {};
  #stop = async () => {};

  constructor(plan: NativePlan, lifetime: Lifetime, greet: Greet) {
    this.name = plan.name;
    this.address = plan.address;
    this.folder = plan.folder;
    if (plan.managementUrl) this.managementUrl = plan.managementUrl;
    this.#plan = plan;
    this.#lifetime = lifetime;
    this.#greet = greet;
  }

  get versions(): Record<string, string> {
    return { ...this.#plan.versions, ...this.#told };
  }

  async start(): Promise<void> {
    const { folder, name } = this.#plan;
    if ((await nativePid(folder)) !== undefined) {
      throw new Error(`${name} runs already`);
    }
    await spawnNative(this.#plan, this.#lifetime);
    try {
      await this.untilItAnswers();
    } catch (error) {
      await killNative(folder);
      const log = await readFile(logFile(this.#plan), "utf8");
      const end = Bun.stripANSI(log).trimEnd().split("\n").slice(-40);
      throw new Error(`${(error as Error).message}\n${end.join("\n")}`);
    }
  }

  /** Returns once a client is answered; throws when the process ends before. */
  async untilItAnswers(): Promise<void> {
    const told = await eventually(
      `${this.name} answers`,
      async () => {
        const pid = await nativePid(this.#plan.folder);
        if (pid === undefined) return "ended";
        return this.#greet(this.#plan);
      },
      { timeoutMs: startTimeoutMs },
    );
    if (told === "ended") throw new Error(`${this.name} ended`);
    this.#told = told as Record<string, string>;
  }

  async kill(): Promise<void> {
    await killNative(this.#plan.folder);
  }

  pause(): Promise<void> {
    return this.#signal("SIGSTOP");
  }

  resume(): Promise<void> {
    return this.#signal("SIGCONT");
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

  async #signal(signal: "SIGSTOP" | "SIGCONT"): Promise<void> {
    const pid = await nativePid(this.#plan.folder);
    if (pid === undefined) throw new Error(`${this.name} doesn't run`);
    // The process alone, not its group: its watcher must go on.
    process.kill(pid, signal);
  }
}

/** A process, told from a later one with the same id. */
interface Identity {
  pid: number;
  stamp: string | undefined;
}

function runs({ pid, stamp }: Identity): boolean {
  return stamp !== undefined && startStamp(pid) === stamp;
}

async function runningProcess(folder: string): Promise<Identity | undefined> {
  try {
    const text = await readFile(processFile(folder), "utf8");
    const identity = JSON.parse(text) as Identity;
    return runs(identity) ? identity : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    throw error;
  }
}

const planFile = (folder: string) => join(folder, "plan.json");
const processFile = (folder: string) => join(folder, "process.json");
const logFile = ({ folder, name }: NativePlan) => join(folder, `${name}.log`);

async function spawnNative(plan: NativePlan, lifetime: Lifetime): Promise<void> {
  const { command, folder } = plan;
  const log = openSync(logFile(plan), "a");
  try {
    // Nothing of the caller's settings: a RABBITMQ_… or JAVA_TOOL_OPTIONS that is
    // meant for another broker would reach ours.
    const env = {
      PATH: process.env["PATH"] ?? "/usr/bin:/bin",
      LANG: "C.UTF-8",
      HOME: folder,
      ...plan.env,
    };
    const child =
      lifetime === "lifeline"
        ? spawnUnderLifeline(folder, command, { cwd: folder, env, output: log })
        : Bun.spawn(command, {
            cwd: folder,
            env,
            stdin: "ignore",
            stdout: log,
            stderr: log,
            detached: true,
          });
    child.unref();
    const identity: Identity = {
      pid: child.pid,
      stamp: startStamp(child.pid),
    };
    await Bun.write(processFile(folder), JSON.stringify(identity));
  } finally {
    closeSync(log);
  }
}
