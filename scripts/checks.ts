import { repoFolder } from "@lab/lab/folders";
import { checkPublished } from "@lab/report/publish";
import { join } from "node:path";
import { bunTest, type Counts } from "./bun-test.ts";
import { unitTests } from "./test-files.ts";

/** A check of the code itself: throws with what is wrong. */
interface Check {
  name: string;
  check: () => Promise<void>;
}

const bun = process.execPath;
// Bun runs their scripts too: Node needn't be there.
const tool = (path: string) => [bun, join(repoFolder, "node_modules", path)];

const CHECKS: Check[] = [
  { name: "format", check: () => mustPass([bun, "fmt", "--check"]) },
  { name: "types", check: () => mustPass([bun, "check"]) },
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
    check: () =>
      mustPass([
        ...tool("knip/bin/knip-bun.js"),
        "--config",
        "scripts/knip.json",
      ]),
  },
  {
    name: "published results",
    check: async () => {
      const stale = await checkPublished();
      if (stale.length > 0) throw new Error(stale.join("\n"));
    },
  },
];

/** Checks format, types, lint, dead code and published results, then runs the unit tests; says each. Each check counts as one test. */
export async function verify(signal: AbortSignal): Promise<Counts> {
  let passed = 0;
  let failed = 0;
  for (const { check, name } of CHECKS) {
    signal.throwIfAborted();
    try {
      await check();
      passed += 1;
      console.error(`ok    ${name}`);
    } catch (error) {
      failed += 1;
      console.error(`WRONG ${name}\n${(error as Error).message}\n`);
    }
  }
  signal.throwIfAborted();
  const lines: string[] = [];
  const files = unitTests();
  const tests = await bunTest({
    files,
    cwd: repoFolder,
    onLine: (line) => lines.push(line),
    signal,
  });
  signal.throwIfAborted();
  const summary = `unit tests: ${tests.passed} in ${files.length} files`;
  if (tests.failed === 0) console.error(`ok    ${summary}`);
  else {
    const shown = lines.filter((line) => !line.startsWith("(pass)"));
    console.error(`WRONG ${summary}, ${tests.failed} failed`);
    console.error(shown.join("\n"));
  }
  return { passed: passed + tests.passed, failed: failed + tests.failed };
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
