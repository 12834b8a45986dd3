import type { Subprocess } from "bun";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import { atExit } from "../host/at-exit.ts";
import type { Model } from "@lab/evidence/evidence";
import { BUN_ENV } from "../host/bun-env.ts";
import { repoFolder } from "@lab/evidence/folders";
import { pauseProcess } from "../host/process-id.ts";

/** What a service runs as: a process, or a container. */
export interface ProcessHandle {
  readonly pid: number;
  /** Resolves when it has ended: its exit code, or 128 + the signal's number. */
  readonly exited: Promise<number>;
  readonly hasEnded: boolean;
  /** Its URL, if that isn't the one in its `ready` line. */
  readonly url?: string;
  signal(name: "SIGTERM" | "SIGKILL" | "SIGSTOP" | "SIGCONT"): Promise<void>;
}

/** Kills every service that this process has started, except lasting ones; returns the names of those that still ran. */
export function killServices(): string[] {
  const names = [...children.values()];
  for (const child of children.keys()) child.kill("SIGKILL");
  return names;
}

/** Registers a running child for `killServices`, until it has ended. */
export function register(child: Killable, name: string): void {
  children.set(child, name);
  forgetExit ??= atExit(() => void killServices());
  void child.exited.then(() => {
    children.delete(child);
    if (children.size > 0) return;
    forgetExit?.();
    forgetExit = undefined;
  });
}

interface Killable {
  readonly exited: Promise<number>;
  kill(signal: "SIGKILL"): void;
}

type Child = Subprocess<"pipe" | "ignore", number, number>;

// Keeps the children's lifelines alive: an unreferenced pipe would be garbage-collected, and
// closed.
const children = new Map<Killable, string>();
let forgetExit: (() => void) | undefined;

function spawnChild(
  command: string[],
  options: {
    name: string;
    env: Record<string, string>;
    log: number;
    lasting: boolean;
  },
): Child {
  const { PATH = "/usr/bin:/bin", HOME, TMPDIR } = process.env;
  const child = Bun.spawn(command, {
    cwd: repoFolder,
    env: {
      PATH,
      ...(HOME === undefined ? {} : { HOME }),
      ...(TMPDIR === undefined ? {} : { TMPDIR }),
      ...BUN_ENV,
      ...options.env,
    },
    stdin: options.lasting ? "ignore" : "pipe",
    stdout: options.log,
    stderr: options.log,
    // A session of its own: Ctrl-C in the terminal reaches only the lab, which stops the services
    // in order.
    detached: true,
  });
  if (options.lasting) {
    child.unref();
    return child;
  }
  register(child, options.name);
  return child;
}

/** Changes the code of a service as it is loaded. */
const WEAVING = join(repoFolder, "packages/proof/weaving/preload.ts");

/** Whether a service is to run without a protection, or to kill itself at a crash point. */
function isWoven({ LAB_CRASH_AT, LAB_WITHOUT }: Record<string, string>): boolean {
  return Boolean(LAB_CRASH_AT || LAB_WITHOUT);
}

/** A service as a process of this machine, its output appended to that file. */
export function spawnService(
  { lasting = false, model, service }: { model: Model; service: string; lasting?: boolean },
  logFile: string,
  env: Record<string, string>,
): ProcessHandle {
  const log = openSync(logFile, "a");
  let child: Child;
  try {
    // A .env file is only for services that are started by hand.
    child = spawnChild(
      [
        process.execPath,
        "--no-env-file",
        ...(isWoven(env) ? ["--preload", WEAVING] : []),
        join(repoFolder, model, `${service}.ts`),
      ],
      { name: service, env: lasting ? env : { ...env, LAB_LIFELINE: "stdin" }, log, lasting },
    );
  } finally {
    closeSync(log);
  }
  let guard: Child | undefined;
  return {
    pid: child.pid,
    exited: child.exited,
    get hasEnded() {
      return child.exitCode !== null || child.signalCode !== null;
    },
    async signal(name) {
      // A stopped process can't notice that its lifeline closes: the guard must wake it.
      if (name === "SIGSTOP") {
        guard ??= spawnGuard(child.pid);
        return pauseProcess(child.pid);
      }
      child.kill(name);
      if (guard === undefined) return;
      if (name === "SIGKILL") await child.exited;
      guard.kill("SIGKILL");
      await guard.exited;
      guard = undefined;
    },
  };
}

/**
 * Wakes a stopped process when this one has died, so that it notices that its lifeline is closed.
 */
function spawnGuard(pid: number): Child {
  const log = openSync("/dev/null", "w");
  try {
    const script = `trap '' HUP INT TERM; read -r _; kill -CONT ${pid}`;
    return spawnChild(["sh", "-c", script], {
      name: `guard of ${pid}`,
      env: {},
      log,
      lasting: false,
    });
  } finally {
    closeSync(log);
  }
}
