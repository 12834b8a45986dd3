import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { weave } from "./weave.ts";

const file = "a.ts";

test("a passage is replaced wherever its line breaks are, and must be there once", () => {
  const text = "if (known) {\n  return 1;\n}\nreturn 2;\n";
  const edit = { file, passage: "if (known) { return 1;", instead: "if (false) {" };
  expect(weave(text, [edit])).toBe("if (false) {\n}\nreturn 2;\n");
  expect(() => weave(text, [{ ...edit, passage: "return 3;" }])).toThrow("a.ts: found 0 times");
  expect(() => weave(text, [{ ...edit, passage: "return" }])).toThrow("a.ts: found 2 times");
});

const folder = mkdtempSync(join(tmpdir(), "weaving-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Runs Inventory of the synchronous model with the preload until it ends, or until it is ready. */
async function run(env: Record<string, string>) {
  const child = Bun.spawn(
    [
      process.execPath,
      "--no-env-file",
      "--preload",
      join(import.meta.dir, "preload.ts"),
      join(import.meta.dir, "../../../sync-rest/inventory-service.ts"),
    ],
    {
      env: { PORT: "0", DATABASE: join(folder, "i.sqlite"), ...env },
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  let output = "";
  for await (const bytes of child.stdout) {
    output += new TextDecoder().decode(bytes);
    if (output.includes('"ready"')) child.kill("SIGTERM");
  }
  await child.exited;
  return { code: child.exitCode, signal: child.signalCode, errors: await child.stderr.text() };
}

test("what can't be taken away, or isn't a gap, is refused with what there is", async () => {
  const on = { LAB_FAULTS: "on" };
  const bad = [
    [{ ...on, LAB_WITHOUT: "release,legder" }, "no legder among commit-before-answer"],
    [{ ...on, LAB_CRASH_AT: "nowhere:1" }, "no nowhere among started-before-ready"],
    [{ ...on, LAB_CRASH_AT: "stopped:0" }, "LAB_CRASH_AT=stopped:0 is not point:n"],
    [{ LAB_WITHOUT: "release" }, "need LAB_FAULTS=on"],
  ] as const;
  for (const [env, reason] of bad) {
    const { code, errors } = await run(env);
    expect([code, errors]).toEqual([2, expect.stringContaining(reason)]);
  }
});

test("a process is killed at the pass that it was told, and says so when it never came there", async () => {
  // As the services read it, in any case.
  const on = { LAB_FAULTS: "On" };
  const { signal } = await run({ ...on, LAB_CRASH_AT: "intake-ended:1" });
  expect(signal).toBe("SIGKILL");
  const { code, errors } = await run({ ...on, LAB_CRASH_AT: "intake-ended:2" });
  expect([code, errors]).toEqual([0, "LAB_CRASH_AT=intake-ended: missed by 1 passes\n"]);
});
