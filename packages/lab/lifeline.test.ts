// Whatever kills the lab, nothing that it started outlives it.
import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isAlive } from "./process-id.ts";
import { eventually } from "./waiting.ts";

/** A lab that holds a lifeline and starts a child under it, then one more, which must not keep the pipe open. */
const LAB = `
  const { holdLifeline, underLifeline } = await import(${JSON.stringify(join(import.meta.dir, "lifeline.ts"))});
  const folder = process.argv[1];
  holdLifeline(folder);
  const options = { stdin: "ignore", stdout: "ignore", stderr: "ignore", detached: true };
  const child = Bun.spawn(underLifeline(folder, ["sleep", "600"]), options);
  const other = Bun.spawn(["sleep", "600"], options);
  if (process.argv[2] === "stopped") process.kill(child.pid, "SIGSTOP");
  console.log(child.pid, other.pid);
  await new Promise(() => {});
`;

test.each([
  ["SIGKILL", "running"],
  ["SIGINT", "running"],
  ["SIGKILL", "stopped"],
] as const)("after %s of the lab its %s child ends", async (signal, state) => {
  // A space, as in a home folder's name.
  const folder = await mkdtemp(join(tmpdir(), "lab lifeline-"));
  await using lab = Bun.spawn([process.execPath, "-e", LAB, folder, state], {
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
