import { expect, test } from "bun:test";
import { isAlive, startStamp } from "./process-id.ts";

test("a process is alive until it ends, and keeps its stamp", async () => {
  const child = Bun.spawn(["sleep", "600"]);
  const stamp = startStamp(child.pid);
  expect([isAlive(child.pid), startStamp(child.pid)]).toEqual([true, stamp]);
  expect(startStamp(process.pid)).not.toBe(stamp);
  child.kill("SIGKILL");
  await child.exited;
  expect([isAlive(child.pid), startStamp(child.pid)]).toEqual([false, undefined]);
});
