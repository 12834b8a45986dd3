/**
 * How the lab leaves no process, container or file behind, however it ends:
 *
 * - A service's standard input is a pipe from the lab (service-body.ts). With LAB_LIFELINE=stdin it ends
 *   when that pipe closes (runtime/service.ts); one that is paused has a guard, which wakes it for that.
 * - Brokers and test runs have a FIFO in their folder, which the lab holds open (this file). When it closes,
 *   lifeline.sh kills the process and removes the folder; lifeline-end.sh takes containers down (compose.ts).
 * - Where the lab can still act, on Ctrl-C or at its own end, at-exit.ts kills the services and removes
 *   their data. `bun test` ends without an exit event: preload.ts does the same there, and stops the brokers.
 * - An experiment that leaves a service running fails, and the service is killed (experiment.ts). Its
 *   queues, topics and groups are removed from a broker that keeps running (leftovers.ts).
 * - After a power failure the next start removes what is left: `freshFolder` here, `removeStale` in compose.ts.
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
 * A new, empty folder under .lab for something that doesn't outlive this process. Removes those
 * whose process no longer runs, as after a power failure.
 */
export async function freshFolder(name: string): Promise<string> {
  const parent = join(labFolder, "brokers");
  await mkdir(parent, { recursive: true });
  for (const entry of await readdir(parent)) {
    const owner = Number(/-(\d+)-[^-]+$/.exec(entry)?.[1]);
    if (!isAlive(owner)) await removeFolder(join(parent, entry));
  }
  const id = crypto.randomUUID().slice(0, 8);
  const folder = join(parent, `${name}-${process.pid}-${id}`);
  // It may contain a broker's password.
  await mkdir(folder, { mode: 0o700 });
  return folder;
}

const held = new Map<string, number>();

/**
 * Opens the folder's lifeline: when this process ends, in any way, what was started under it is
 * ended, and the folder removed.
 */
export function holdLifeline(folder: string): void {
  const pipe = pipeOf(folder);
  const { success, stderr } = Bun.spawnSync(["mkfifo", pipe]);
  if (!success) throw new Error(`mkfifo ${pipe}: ${stderr.toString()}`);
  // Read-write, since opening a FIFO only for writing waits for a reader.
  held.set(folder, openSync(pipe, constants.O_RDWR));
}

/**
 * Starts a command in a session of its own (Ctrl-C in the terminal reaches only the lab) under the
 * folder's lifeline, which this or another process holds.
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

/**
 * Holds the folder's lifeline; when it closes, a command runs, its output ignored, and the folder is
 * removed. Returns what closes it without the command, and removes the folder.
 */
export function guardFolder(folder: string, command: string[]): () => Promise<void> {
  holdLifeline(folder);
  const stdin = openSync(pipeOf(folder), constants.O_RDONLY);
  try {
    const guard = Bun.spawn(["sh", join(import.meta.dir, "lifeline-end.sh"), folder, ...command], {
      stdin,
      stdout: "ignore",
      stderr: "ignore",
      detached: true,
    });
    guard.unref();
    return async () => {
      killGroup(guard.pid);
      releaseLifeline(folder);
      await removeFolder(folder);
    };
  } finally {
    closeSync(stdin);
  }
}

/** Closes the lifeline, which ends what still runs under it. */
export function releaseLifeline(folder: string): void {
  const pipe = held.get(folder);
  if (pipe === undefined) return;
  held.delete(folder);
  closeSync(pipe);
}

/** Waits until the clean-up of a dead process's lifeline is done, which finally removes the folder; or for 15 s, as after a power failure. */
export async function lifelineEnds(folder: string): Promise<void> {
  await eventually("the lifeline's end", () => !existsSync(folder), { timeoutMs: 15_000 }).catch(
    () => {},
  );
}

const pipeOf = (folder: string) => join(folder, "lifeline");

/** Kills a process that leads a session of its own, with its watcher. */
export function killGroup(pid: number): void {
  try {
    process.kill(-pid, "SIGKILL");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/** Removes a folder, even if a process that was just killed still writes into it. */
export async function removeFolder(folder: string): Promise<void> {
  await rm(folder, {
    recursive: true,
    force: true,
    maxRetries: 10,
    retryDelay: 50,
  });
}
