import { closeSync, openSync } from 'node:fs';
import { mkdir, readdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Broker, BrokerName } from './brokers.ts';
import { labFolder } from './folders.ts';
import { eventually } from './waiting.ts';

const startTimeoutMs = 120_000;

/** How to run one broker as a process of our own. */
export interface NativePlan {
  name: BrokerName;
  /** Its data, its settings and its log. */
  folder: string;
  address: string;
  managementUrl?: string;
  command: string[];
  env: Record<string, string>;
  /** Does what a client does first; the versions that the broker tells. Throws while it isn't up. */
  greet: () => Promise<Record<string, string>>;
}

export interface NativeOptions {
  /** What goes on after this process has ended, as `lab up` wants it; otherwise the broker ends and its folder goes with this process. */
  outlives?: boolean;
  /** The process that runs already, for a handle on what `lab up` left. */
  pid?: number;
  /** Called with the process id after each start. */
  onStart?: (pid: number) => Promise<void>;
}

/** A new, empty folder for a broker that lives no longer than this process; removes those whose process is gone. */
export async function freshFolder(name: BrokerName): Promise<string> {
  const parent = join(labFolder, 'brokers');
  await mkdir(parent, { recursive: true });
  for (const entry of await readdir(parent)) {
    const owner = Number(entry.split('-')[1]);
    if (!isAlive(owner)) await rm(join(parent, entry), { recursive: true, force: true });
  }
  const folder = join(parent, `${name}-${process.pid}-${crypto.randomUUID().slice(0, 8)}`);
  await mkdir(folder);
  return folder;
}

/** Whether a process of that id exists. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it exists and is somebody else's.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

/** Starts the broker (unless `pid` says that it runs) and returns when it answers; throws with the end of its log when it doesn't. */
export async function runNative(plan: NativePlan, options: NativeOptions = {}): Promise<Broker> {
  const reused = options.pid !== undefined;
  const logFile = join(plan.folder, `${plan.name}.log`);
  let running: Running | undefined = reused ? { pid: options.pid!, hasEnded: () => !isAlive(options.pid!) } : undefined;

  async function start(): Promise<Record<string, string>> {
    if (running?.hasEnded() === false) throw new Error(`${plan.name} runs already`);
    running = options.outlives === true ? spawnDetached(plan, logFile) : spawnUnderLifeline(plan, logFile);
    const { hasEnded, pid } = running;
    try {
      const versions = await eventually(
        `${plan.name} answers at ${new URL(`tcp://${plan.address.replace(/^.*[/@]/, '')}`).host}`,
        () => (hasEnded() ? 'ended' : plan.greet()),
        { timeoutMs: startTimeoutMs, everyMs: 50 },
      );
      if (versions === 'ended') throw new Error(`${plan.name} ended instead of starting`);
      await options.onStart?.(pid);
      return versions;
    } catch (error) {
      await kill();
      const log = await readFile(logFile, 'utf8').catch(() => '');
      throw new Error(`${(error as Error).message}\n${log.split('\n').slice(-25).join('\n')}`);
    }
  }

  async function kill(): Promise<void> {
    if (running === undefined) return;
    const { hasEnded, pid } = running;
    running = undefined;
    killGroup(pid);
    await eventually(`${plan.name} (process ${pid}) ends`, () => hasEnded());
  }

  function signal(name: 'SIGSTOP' | 'SIGCONT'): void {
    if (running === undefined) throw new Error(`${plan.name} doesn't run`);
    // The process alone, not its group: its watcher must go on.
    process.kill(running.pid, name);
  }

  async function stop(): Promise<void> {
    if (reused) return;
    await kill();
    if (options.outlives !== true) await rm(plan.folder, { recursive: true, force: true, maxRetries: 5 });
  }

  const versions = reused ? await plan.greet() : await start().catch(async (error) => {
    await rm(plan.folder, { recursive: true, force: true });
    throw error;
  });
  return {
    kind: 'native',
    name: plan.name,
    address: plan.address,
    ...(plan.managementUrl === undefined ? {} : { managementUrl: plan.managementUrl }),
    versions,
    kill,
    start: async () => void (await start()),
    pause: async () => signal('SIGSTOP'),
    resume: async () => signal('SIGCONT'),
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

interface Running {
  pid: number;
  hasEnded: () => boolean;
}

/** Ends the process and all that belongs to its group, at once. */
export function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}

// The pipes that hold the brokers' lifelines: collected as garbage, they would close.
const lifelines = new Map<number, unknown>();

function spawnUnderLifeline(plan: NativePlan, logFile: string): Running {
  const child = spawn(['sh', join(import.meta.dir, 'lifeline.sh'), plan.folder, ...plan.command], plan, logFile, 'pipe');
  lifelines.set(child.pid, child.stdin);
  void child.exited.then(() => {
    // A watcher whose broker has ended by itself has nothing more to do, and must not remove the data of the next start.
    killGroup(child.pid);
    lifelines.delete(child.pid);
  });
  return { pid: child.pid, hasEnded: () => child.exitCode !== null || child.signalCode !== null };
}

function spawnDetached(plan: NativePlan, logFile: string): Running {
  const child = spawn(plan.command, plan, logFile, 'ignore');
  child.unref();
  return { pid: child.pid, hasEnded: () => child.exitCode !== null || child.signalCode !== null };
}

function spawn(command: string[], plan: NativePlan, logFile: string, stdin: 'pipe' | 'ignore') {
  const log = openSync(logFile, 'a');
  try {
    return Bun.spawn(command, {
      cwd: plan.folder,
      // Nothing of the caller's settings: a RABBITMQ_… or JAVA_TOOL_OPTIONS meant for another broker would reach ours.
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LANG: 'C.UTF-8', HOME: plan.folder, ...plan.env },
      stdin,
      stdout: log,
      stderr: log,
      // A session of its own, so that Ctrl-C in the terminal reaches the lab alone, which then ends its brokers in order.
      detached: true,
    });
  } finally {
    closeSync(log);
  }
}
