import {
  freshFolder,
  holdLifeline,
  killGroup,
  releaseLifeline,
  removeFolder,
  underLifeline,
} from "@lab/lab/lifeline";
import { eventually } from "@lab/lab/waiting";

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
  /** Each line of its output but for headings and sums. */
  onLine: (line: string) => void;
  signal: AbortSignal;
}

/**
 * Runs `bun test` on those files and counts. An interrupted run gets SIGINT, and
 * counts as far as it got; none outlives this process.
 */
export async function bunTest(run: TestRun): Promise<Counts> {
  const { cwd, env = {}, files, onLine, signal } = run;
  const folder = await freshFolder("tests");
  holdLifeline(folder);
  const command = [process.execPath, "--no-env-file", "test", ...files];
  const child = Bun.spawn(underLifeline(folder, command), {
    cwd,
    env: { ...process.env, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    // A session of its own: of a Ctrl-C it hears once, from here.
    detached: true,
  });
  const interrupt = () => void end(child);
  signal.addEventListener("abort", interrupt);
  if (signal.aborted) interrupt();
  const lines: string[] = [];
  const take = (line: string) => {
    lines.push(line);
    if (!isNoise(line)) onLine(line);
  };
  // The watcher of the lifeline has the same pipes: its end is not waited for.
  const output = Promise.all([eachLine(child.stdout, take), eachLine(child.stderr, take)]);
  const exitCode = await child.exited;
  killGroup(child.pid);
  await output;
  signal.removeEventListener("abort", interrupt);
  releaseLifeline(folder);
  await removeFolder(folder);
  return countTests(lines, exitCode);
}

/** The counts of a `bun test` output. A run that ended in no way it says itself counts as one failure. */
export function countTests(lines: readonly string[], exitCode: number): Counts {
  // The sums are the last such lines: a test may print anything before.
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
    /^$|^bun test v|^Ran \d+ tests? across|\.test\.ts:$/.test(line)
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

async function eachLine(
  stream: ReadableStream<Uint8Array>,
  onLine: (line: string) => void,
): Promise<void> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) onLine(line);
  }
  if (rest !== "") onLine(rest);
}
