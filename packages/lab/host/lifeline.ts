/**
 * How it is that nothing is left running, or lying about, however the lab ends:
 *
 * - A service's standard input is a pipe from the lab (service-body.ts). With LAB_LIFELINE=stdin it ends
 *   when that pipe closes (runtime/service.ts); one that is paused has a guard, which wakes it for that.
 * - Brokers and test runs have a FIFO in their folder, which the lab holds open (this file). When it closes,
 *   lifeline.sh kills the process and removes the folder; lifeline-end.sh takes containers down (compose.ts).
 * - Where the lab can still act, on Ctrl-C or at its own end, at-exit.ts kills the services and removes
 *   their data. `bun test` ends without an exit event: preload.ts does the same there, and stops the brokers.
 * - An experiment that leaves a service running fails, and the service is killed (experiment.ts). Its
 *   queues, topics and groups are removed from a broker that goes on (leftovers.ts).
 * - After a power cut the next start removes what is left: `freshFolder` here, `removeStale` in compose.ts.
 *
 * What `lab up` starts is `lasting`: none of this is about it, `lab down` ends it. What `lab up --foreground`
 * starts ends in these ways, but its data stay in .lab/up: a broker's lifeline has a folder of its own then.
 */
import { closeSync, constants, existsSync, openSync } from "node:fs";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { labFolder } from "@lab/evidence/folders";
import { isAlive } from "./process-id.ts";
import { eventually } from "./waiting.ts";

/**
 * A new, empty folder under .lab for something that lives no longer than this
 * process. Removes those whose process is gone, as after a power cut.
 */
export async function freshFolder(name: string): Promise<string> {
  const parent = join(labFolder, "brokers");
  await mkdir(parent, { recursive: true });
  for (const entry of await readdir(parent)) {
    const owner = Number(entry.split("-")[1]);
    if (!isAlive(owner)) await removeFolder(join(parent, entry));
  }
  const id = crypto.randomUUID().slice(0, 8);
  const folder = join(parent, `${name}-${process.pid}-${id}`);
  // A broker's password may stand in it.
  await mkdir(folder, { mode: 0o700 });
  return folder;
}

const held = new Map<string, number>();

/** Makes what is started under the folder's lifeline end, and the folder go, when this process ends, however it does. */
export function holdLifeline(folder: string): void {
  const pipe = pipeOf(folder);
  const { success, stderr } = Bun.spawnSync(["mkfifo", pipe]);
  if (!success) throw new Error(`mkfifo ${pipe}: ${stderr.toString()}`);
  // For reading too, or opening it would wait for a reader.
  held.set(folder, openSync(pipe, constants.O_RDWR));
}

/**
 * Starts a command in a session of its own (Ctrl-C in the terminal reaches the
 * lab alone) under the folder's lifeline, which this or another process holds.
 */
export function spawnUnderLifeline<Output extends "pipe" | number>(
  folder: string,
  command: string[],
  options: {
    cwd?: string;
    env: Record<string, string | undefined>;
    output: Output;
  },
): Bun.Subprocess<number, Output, Output> {
  const { output, ...rest } = options;
  const stdin = openSync(pipeOf(folder), constants.O_RDONLY);
  try {
    return Bun.spawn(["sh", join(import.meta.dir, "lifeline.sh"), folder, ...command], {
      ...rest,
      stdin,
      stdout: output,
      stderr: output,
      detached: true,
    });
  } finally {
    closeSync(stdin);
  }
}

/** Runs a command, whatever it prints, when the folder's lifeline is cut, and removes the folder then; returns the process that waits for it. */
export function spawnAtLifelineEnd(folder: string, command: string[]): Bun.Subprocess {
  const stdin = openSync(pipeOf(folder), constants.O_RDONLY);
  try {
    return Bun.spawn(["sh", join(import.meta.dir, "lifeline-end.sh"), folder, ...command], {
      stdin,
      stdout: "ignore",
      stderr: "ignore",
      detached: true,
    });
  } finally {
    closeSync(stdin);
  }
}

/** Ends what still runs under that lifeline. */
export function releaseLifeline(folder: string): void {
  const pipe = held.get(folder);
  if (pipe === undefined) return;
  held.delete(folder);
  closeSync(pipe);
}

/** Returns when what hung on a dead process's lifeline is done, which removes that folder at its end; or after 15 s, as after a power cut. */
export async function lifelineEnds(folder: string): Promise<void> {
  await eventually("the lifeline's end", () => !existsSync(folder), { timeoutMs: 15_000 }).catch(
    () => {},
  );
}

const pipeOf = (folder: string) => join(folder, "lifeline");

/** Ends a process of a session of its own at once, with its watcher. */
export function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Removes a folder, also one in which a process that was killed a moment ago still writes. */
export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, {
    recursive: true,
    force: true,
    maxRetries: 10,
    retryDelay: 50,
  });
}
