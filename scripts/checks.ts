import { lookForDocker } from "@lab/lab/machine/compose-engine";
import { repoFolder } from "@lab/evidence/folders";
import { models } from "@lab/evidence/experiments";
import { checkPublished } from "@lab/report/publish/publish";
import { join } from "node:path";
import { bunTest, type Counts } from "./run/bun-test.ts";
import { say } from "./say.ts";
import { unitTests } from "./run/test-files.ts";

/**
 * A check of the code itself: throws with what is wrong; returns the reason where it can't be done.
 */
interface Check {
  name: string;
  check: () => Promise<void | { notChecked: string }>;
}

const bun = process.execPath;
// Run by Bun, so that Node isn't needed.
const tool = (path: string) => [bun, join(repoFolder, "node_modules", path)];

/** A built-in command of Bun that the oldest supported Bun doesn't have. */
function newBun(...words: string[]): string[] {
  if (Bun.semver.order(Bun.version, "1.4.5") < 0) {
    throw new Error(`bun ${words[0]} needs Bun 1.4.5; this is ${Bun.version}`);
  }
  return [bun, ...words];
}

const CHECKS: Check[] = [
  { name: "format", check: async () => mustPass(newBun("fmt", "--check")) },
  {
    name: "types",
    check: async () => {
      await mustPass(newBun("check"));
      // Code for browsers has other globals.
      await mustPass(newBun("check", "--project", "packages/dashboard/page"));
    },
  },
  {
    name: "lint",
    check: () =>
      mustPass([
        ...tool("oxlint/bin/oxlint"),
        "--type-aware",
        "--deny-warnings",
        "--config",
        "scripts/oxlint.json",
      ]),
  },
  {
    name: "dead code",
    check: () => mustPass([...tool("knip/bin/knip-bun.js"), "--config", "scripts/knip.json"]),
  },
  {
    name: "compose files",
    check: async () => {
      const { compose } = lookForDocker();
      if ("problem" in compose) return { notChecked: "no Compose found" };
      for (const { model } of models) {
        const file = join(repoFolder, model, "docker-compose.yml");
        await mustPass(["docker", "compose", "--file", file, "config", "--quiet"]);
      }
    },
  },
  {
    name: "published results",
    check: async () => {
      const stale = await checkPublished();
      if (stale.length > 0) throw new Error(stale.join("\n"));
    },
  },
];

/** They wait for timers more than they compute. */
const UNIT_TESTS_AT_ONCE = 4;

/**
 * Checks format, types, lint, dead code and published results, beside the unit tests; reports each.
 * Each check counts as one test.
 */
export async function verify(signal: AbortSignal): Promise<Counts> {
  const [checks, tests] = await Promise.all([
    check(signal),
    testFiles("unit tests", unitTests(), signal, UNIT_TESTS_AT_ONCE),
  ]);
  return { passed: checks.passed + tests.passed, failed: checks.failed + tests.failed };
}

async function check(signal: AbortSignal): Promise<Counts> {
  let passed = 0;
  let failed = 0;
  for (const { check, name } of CHECKS) {
    signal.throwIfAborted();
    try {
      const outcome = await check();
      if (outcome === undefined) {
        passed += 1;
        say(`ok    ${name}`);
      } else say(`-     ${name}: not checked: ${outcome.notChecked}`);
    } catch (error) {
      failed += 1;
      say(`WRONG ${name}\n${(error as Error).message}\n`);
    }
  }
  return { passed, failed };
}

/**
 * Runs test files that belong to no model, and reports how many tests have passed, or which have
 * failed.
 */
export async function testFiles(
  what: string,
  files: readonly string[],
  signal: AbortSignal,
  atOnce?: number,
): Promise<Counts> {
  const lines: string[] = [];
  const tests = await bunTest({
    files,
    cwd: repoFolder,
    ...(atOnce === undefined ? {} : { atOnce }),
    onLine: (line) => lines.push(line),
    signal,
  });
  signal.throwIfAborted();
  const summary = `${what}: ${tests.passed} in ${files.length} files`;
  if (tests.failed === 0) say(`ok    ${summary}`);
  else {
    const shown = lines.filter((line) => !line.startsWith("(pass)"));
    say(`WRONG ${summary}, ${tests.failed} failed`);
    say(shown.join("\n"));
  }
  return tests;
}

async function mustPass(command: string[]): Promise<void> {
  const child = Bun.spawn(command, {
    cwd: repoFolder,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [output, errors, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  if (exitCode !== 0) throw new Error(`${output}${errors}`.trim());
}
