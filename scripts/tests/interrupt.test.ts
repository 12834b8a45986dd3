import { expect, test } from "bun:test";
import { join } from "node:path";

const module = JSON.stringify(join(import.meta.dir, "../interrupt.ts"));

/** A job that is interrupted, and again `againMs` after it has noticed. */
async function interruptedTwice(againMs: number) {
  const script = `
    import { interruptible } from ${module};
    const code = await interruptible(async () => {
      process.emit("SIGINT");
      await new Promise((again) => setTimeout(again, ${againMs}));
      process.emit("SIGINT");
      console.log("cleaned up");
      return 0;
    });
    process.exit(code);`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "ignore" });
  return { output: await child.stdout.text(), code: await child.exited };
}

test("one Ctrl-C that comes twice, as under bun run, leaves the job its clean-up", async () => {
  expect(await interruptedTwice(0)).toEqual({ output: "cleaned up\n", code: 130 });
});

test("a second Ctrl-C ends it at once", async () => {
  expect(await interruptedTwice(1_500)).toEqual({ output: "", code: 130 });
});
