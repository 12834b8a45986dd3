import { killGroup, spawnUnderLifeline } from "./lifeline.ts";

/**
 * Runs a command and returns its standard output; throws with the end of all output when it fails.
 * With `lifeline`, the folder of an open lifeline, it ends when this process does.
 */
export async function runQuietly(
  command: string[],
  {
    cwd,
    env = {},
    lifeline,
  }: { cwd?: string; env?: Record<string, string | undefined>; lifeline?: string } = {},
): Promise<string> {
  const options = { env: { ...process.env, ...env }, ...(cwd === undefined ? {} : { cwd }) };
  const child =
    lifeline === undefined
      ? Bun.spawn(command, { ...options, stdout: "pipe", stderr: "pipe" })
      : spawnUnderLifeline(lifeline, command, { ...options, output: "pipe" });
  const output = Promise.all([child.stdout.text(), child.stderr.text()]);
  const code = await child.exited;
  // Also kills the watcher, which holds the pipes too.
  if (lifeline !== undefined) killGroup(child.pid);
  if (code === 0) return (await output)[0];
  const end = (await output).join("").trimEnd().split("\n").slice(-25);
  throw new Error(`${command.join(" ")} ended with ${code}:\n${end.join("\n")}`);
}
