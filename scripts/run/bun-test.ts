import { follow } from "./follow.ts";
import { BUN_ENV } from "@lab/lab/host/bun-env";
import {
  freshFolder,
  holdLifeline,
  killGroup,
  releaseLifeline,
  removeFolder,
  spawnUnderLifeline,
} from "@lab/lab/host/lifeline";
import { eventually } from "@lab/lab/host/waiting";
import { closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";

/** The timeout of tests that set none: only a test that hangs takes that long, even on a busy machine. */
const TEST_TIMEOUT_MS = 60_000;
/** How long an interrupted test run has for its own clean-up. */
const INTERRUPT_TIMEOUT_MS = 20_000;

export interface Counts {
  passed: number;
  failed: number;
}

export interface TestRun {
  /** Test files. */
  files: readonly string[];
  cwd: string;
  env?: Record<string, string>;
  /** So many files at once, for tests that mostly wait; one after the other unless it is given. */
  atOnce?: number;
  /** Called with each line of its output except headings and totals. */
  onLine: (line: string) => void;
  signal: AbortSignal;
}

/**
 * Runs `bun test` on those files and counts. An interrupted run gets SIGINT, and the tests so far
 * are counted; no run outlives this process.
 */
export async function bunTest(run: TestRun): Promise<Counts> {
  const { onLine, signal } = run;
  const folder = await freshFolder("tests");
  holdLifeline(folder);
  // A file instead of a pipe, which an orphaned process could keep open.
  const output = join(folder, "output");
  const lines: string[] = [];
  const child = spawnTests(run, folder, output);
  const interrupt = () => void end(child);
  signal.addEventListener("abort", interrupt);
  if (signal.aborted) interrupt();
  const unfollow = follow(output, (line) => {
    lines.push(line);
    if (!isNoise(line)) onLine(line);
  });
  const exitCode = await child.exited;
  signal.removeEventListener("abort", interrupt);
  unfollow();
  killGroup(child.pid);
  releaseLifeline(folder);
  await removeFolder(folder);
  return countTests(lines, exitCode);
}

function spawnTests({ atOnce, cwd, env, files }: TestRun, folder: string, output: string) {
  const options = [
    `--timeout=${TEST_TIMEOUT_MS}`,
    ...(atOnce === undefined ? [] : [`--parallel=${atOnce}`, "--no-isolate"]),
  ];
  const command = [process.execPath, "--no-env-file", "test", ...options, ...files];
  const log = openSync(output, "w");
  // Files of an interrupted test are removed with the folder.
  const TMPDIR = join(folder, "tmp");
  mkdirSync(TMPDIR);
  try {
    return spawnUnderLifeline(folder, command, {
      cwd,
      env: { ...process.env, ...BUN_ENV, TMPDIR, ...env },
      output: log,
    });
  } finally {
    closeSync(log);
  }
}

/**
 * The counts of a `bun test` output. A run that ended with an error but reports no failed test
 * counts as one failure.
 */
export function countTests(lines: readonly string[], exitCode: number): Counts {
  // The totals are the last such lines: a test may print anything before.
  const sum = (word: string) => {
    const line = lines.findLast((one) => new RegExp(`^ +\\d+ ${word}$`).test(one));
    return line === undefined ? 0 : Number.parseInt(line);
  };
  const passed = sum("pass");
  const failed = sum("fail");
  return { passed, failed: failed === 0 && exitCode !== 0 ? 1 : failed };
}

function isNoise(line: string): boolean {
  return (
    /^ +\d+ (pass|fail|skip|todo|error|errors|expect\(\) calls)$/.test(line) ||
    /^$|^bun test v|^Ran \d+ tests? across|\.(test|proof)\.ts:$/.test(line)
  );
}

async function end(child: Bun.Subprocess): Promise<void> {
  child.kill("SIGINT");
  try {
    await eventually(
      "the test run ends",
      () => child.exitCode !== null || child.signalCode !== null,
      { timeoutMs: INTERRUPT_TIMEOUT_MS },
    );
  } catch {
    killGroup(child.pid);
  }
}
