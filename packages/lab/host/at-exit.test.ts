import { expect, test } from "bun:test";
import { join } from "node:path";

const module = JSON.stringify(join(import.meta.dir, "at-exit.ts"));

/**
 * Runs a script that may register clean-ups, sends it a signal once it is ready, and returns its
 * output and exit code.
 */
async function ended(script: string, signal?: NodeJS.Signals) {
  const child = Bun.spawn([process.execPath, "-e", `import { atExit } from ${module};${script}`], {
    stdout: "pipe",
    stderr: "ignore",
  });
  let output = "";
  for await (const bytes of child.stdout) {
    output += Buffer.from(bytes).toString();
    if (signal !== undefined && output.includes("now")) child.kill(signal);
  }
  return { output: output.trim().split("\n"), code: await child.exited };
}

const two = `
  atExit(() => console.log("first"));
  atExit(() => { console.log("second"); throw new Error("x"); });
  atExit(() => console.log("never"))();`;

test("clean-ups run at the end, the last one first, also when one throws", async () => {
  expect(await ended(two)).toEqual({ output: ["second", "first"], code: 0 });
});

test("they run when a signal ends the process", async () => {
  const waits = `${two} setInterval(() => {}, 1000); console.log("now");`;
  expect(await ended(waits, "SIGINT")).toEqual({
    output: ["now", "second", "first"],
    code: 130,
  });
  expect(await ended(waits, "SIGTERM")).toMatchObject({ code: 143 });
});

test("a command that handles the signal itself decides when to end", async () => {
  const own = `${two}
    process.on("SIGINT", () => setTimeout(() => { console.log("gently"); process.exit(7); }, 5));
    setInterval(() => {}, 1000); console.log("now");`;
  expect(await ended(own, "SIGINT")).toEqual({
    output: ["now", "gently", "second", "first"],
    code: 7,
  });
});
