// However the lab is killed, nothing that it started outlives it.
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isAlive } from "../host/process-id.ts";
import { eventually } from "../host/waiting.ts";

/** A lab that holds a lifeline and starts a child under it, then one more, which must not keep the pipe open. */
const LAB = `
  const { holdLifeline, spawnUnderLifeline } = await import(${JSON.stringify(join(import.meta.dir, "../host/lifeline.ts"))});
  const [, folder, state] = process.argv;
  holdLifeline(folder);
  const child = spawnUnderLifeline(folder, ["sh", "-c", "echo up; exec sleep 20"], { env: process.env, output: "pipe" });
  await child.stdout.getReader().read();
  const other = Bun.spawn(["sleep", "20"], { detached: true });
  if (state === "stopped") process.kill(child.pid, "SIGSTOP");
  console.log(child.pid, other.pid);
  // The test's own lifeline.
  process.stdin.on("end", () => process.exit());
  process.stdin.resume();
`;

test.each([
  ["SIGKILL", "running"],
  ["SIGINT", "running"],
  ["SIGKILL", "stopped"],
] as const)("after %s of the lab its %s child ends", async (signal, state) => {
  // With a space, as in some home folders.
  const folder = await mkdtemp(join(tmpdir(), "lab lifeline-"));
  await using lab = Bun.spawn([process.execPath, "-e", LAB, folder, state], {
    stdin: "pipe",
    stdout: "pipe",
  });
  const { value } = await lab.stdout.getReader().read();
  const [child, other] = new TextDecoder().decode(value).split(" ").map(Number);
  try {
    expect([isAlive(child!), isAlive(other!)]).toEqual([true, true]);
    lab.kill(signal);
    await eventually("the child ends", () => !isAlive(child!));
    await eventually("its folder goes", () => !existsSync(folder));
    expect(isAlive(other!)).toBe(true);
  } finally {
    process.kill(other!, "SIGKILL");
    await rm(folder, { recursive: true, force: true });
  }
});
