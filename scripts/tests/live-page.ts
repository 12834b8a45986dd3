// The live page in a real Chromium, over the three models of a lab of its own.
import { freePorts } from "@lab/lab/host/ports";
import { eventually } from "@lab/lab/host/waiting";
import { ownLab } from "@lab/proof/kills/own-lab";
import { source as axe } from "axe-core";
import type { Page } from "playwright-core";

type OwnLab = Awaited<ReturnType<typeof ownLab>>;

export interface Live extends AsyncDisposable {
  lab: OwnLab;
  /** The page's server. */
  pid: number;
  /** With its key. */
  url: string;
  origin: string;
  /** Ends the page as Ctrl-C does; returns the exit code and what was printed. */
  interrupt(): Promise<{ code: number; output: string }>;
}

/** Serves the page of those models in that lab, which are up or will be brought up. */
export async function startLive(lab: OwnLab, words: string[]): Promise<Live> {
  const [port] = await freePorts(1);
  const child = lab.spawn([
    "scripts/lab.ts",
    "live",
    "--headless",
    "--port",
    String(port),
    ...words,
  ]);
  let output = "";
  const reading = (async () => {
    for await (const bytes of child.stdout) output += Buffer.from(bytes).toString();
  })();
  const errors = child.stderr.text();
  const url = await eventually("the page is up", async () => {
    if (child.exitCode !== null) throw new Error(await errors);
    return output.includes("All is up") && /http:\S+/.exec(output)?.[0];
  });
  const interrupt = async () => {
    // A test may have paused it.
    for (const signal of ["SIGINT", "SIGCONT"] as const) {
      if (child.exitCode === null) process.kill(-child.pid, signal);
    }
    const code = await child.exited;
    await reading;
    return { code, output: output + (await errors) };
  };
  return {
    lab,
    pid: child.pid,
    url,
    origin: new URL(url).origin,
    interrupt,
    [Symbol.asyncDispose]: async () => void (await interrupt()),
  };
}

/** Brings up the three models on ports of their own. */
export async function upAll(lab: OwnLab): Promise<void> {
  for (const name of ["sync", "async", "stream"]) {
    const roles = ["ORDER", "INVENTORY", "NOTIFICATION", "ANALYTICS"];
    const ports = await freePorts(roles.length);
    const env = Object.fromEntries(roles.map((role, n) => [`${role}_PORT`, String(ports[n])]));
    const { code, errors } = await lab.run(["up", name], { ...env, LOG_LEVEL: "debug" });
    if (code !== 0) throw new Error(errors);
  }
}

/** What axe finds serious on the page as it is now. */
export async function accessibilityProblems(page: Page): Promise<string[]> {
  // As a test tool, not by a script of the page: those are forbidden.
  await page.evaluate(axe);
  const { violations } = await page.evaluate<{
    violations: { id: string; impact: string; nodes: { html: string; failureSummary: string }[] }[];
  }>("axe.run(document, { resultTypes: ['violations'] })");
  return violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .flatMap(({ id, nodes }) =>
      nodes.map(({ failureSummary, html }) => `${id}: ${html} ${failureSummary}`),
    );
}
