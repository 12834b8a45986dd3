import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { eventually } from "./waiting.ts";

/** Whether a process of that id runs. A zombie, whose exit code wasn't collected yet, counts as ended. */
export function isAlive(pid: number): boolean {
  return startStamp(pid) !== undefined;
}

/**
 * Distinguishes a process from a later one with the same id; undefined when there is no such
 * process.
 */
export function startStamp(pid: number): string | undefined {
  if (process.platform !== "linux") {
    // `ps` is on every macOS. A minimal Debian lacks it, but has /proc.
    const ps = spawnSync("ps", ["-o", "stat=,lstart=", "-p", String(pid)], {
      encoding: "utf8",
      // It prints local time in the caller's language: the stamp must be the same in every shell.
      env: { ...process.env, LC_ALL: "C", TZ: "UTC" },
    });
    const [state = "Z", ...started] = ps.stdout.trim().split(/\s+/);
    return state.startsWith("Z") ? undefined : started.join(" ");
  }
  let stat: string;
  try {
    stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  } catch {
    return undefined;
  }
  // The name, field 2, may contain spaces and brackets. Field 3 is the state, field 22 the start time.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? undefined : fields[19];
}

/** SIGSTOP; returns once every thread has stopped, or the process has ended: on a busy machine some threads go on for milliseconds. */
export async function pauseProcess(pid: number): Promise<void> {
  if (!isAlive(pid)) return;
  process.kill(pid, "SIGSTOP");
  await eventually(`process ${pid} stops`, () => isPaused(pid) || !isAlive(pid), { everyMs: 2 });
}

/** Whether that process, with all its threads, is stopped, as by SIGSTOP. */
export function isPaused(pid: number): boolean {
  if (process.platform !== "linux") {
    return spawnSync("ps", ["-o", "stat=", "-p", String(pid)])
      .stdout.toString()
      .startsWith("T");
  }
  try {
    return readdirSync(`/proc/${pid}/task`).every((thread) =>
      /^State:\s+T/m.test(readFileSync(`/proc/${pid}/task/${thread}/status`, "utf8")),
    );
  } catch {
    return false;
  }
}

/**
 * A process, distinguished from a later one with the same id. Plain data, for other processes to
 * find it.
 */
export interface Identity {
  pid: number;
  /** See `startStamp`. */
  stamp: string | undefined;
}

export function identityOf(pid: number): Identity {
  return { pid, stamp: startStamp(pid) };
}

/** Whether that process still runs, and not a later one with its id. */
export function runs({ pid, stamp }: Identity): boolean {
  return stamp !== undefined && startStamp(pid) === stamp;
}
