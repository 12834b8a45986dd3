import { startDashboard } from "@lab/dashboard/server/server";
import type { Model } from "@lab/evidence/evidence";
import { readState, serviceRuns } from "@lab/lab/brokers/state";
import { weavingOf } from "@lab/proof/weaving/weaving-env";
import { type Command, UsageError } from "../command.ts";
import { interruptible, unlessAborted } from "../interrupt.ts";
import { takeLivePicture } from "../run/live-picture.ts";
import { MODELS } from "../models.ts";
import { say } from "../say.ts";
import { hasData, takeDown, withUpLock } from "../up/campus.ts";
import { namespaceOf, settingsAgain } from "../up/environment.ts";
import { refuseWrongWords, startAll } from "../up/start-all.ts";

const PORT = 8000;

export const command: Command = {
  summary: "one page on which the models live: order, break, watch",
  usage: "[sync|async|stream|all] [--port N] [--headless]",
  details: `Starts those models (all three, unless some are named), or takes those that are up, and serves the
page on 127.0.0.1:${PORT} alone. It opens by itself where there is a desktop. Only the printed address, with its
key, may change anything. Ctrl-C ends what was started here; what was up before stays up.`,
  options: {
    port: { type: "number", least: 0, most: 65535, summary: `of the page (${PORT})` },
    headless: { type: "boolean", summary: "open no browser" },
    picture: { type: "string", summary: "no page to use: a picture of it as PNG, and the end" },
  },
  async run({ options, words }) {
    refuseWrongWords(words);
    // Each order's steps are read from the services' logs.
    process.env["LOG_LEVEL"] ||= "debug";
    const chosen = words.length === 0 ? ["all"] : words;
    const port = Number(options["port"] ?? PORT);
    return interruptible(async (signal) => {
      const picture = options["picture"] as string | undefined;
      const opens = options["headless"] !== true && picture === undefined;
      await live(chosen, { port, opens, picture, signal });
      // Ctrl-C is the normal end; a probe that is just asking a broker must not delay it.
      process.exit(0);
    });
  },
};

interface Options {
  port: number;
  opens: boolean;
  /** The file of a picture, after which it ends. */
  picture: string | undefined;
  signal: AbortSignal;
}

async function live(words: string[], { port, opens, picture, signal }: Options): Promise<void> {
  const all = Object.entries(MODELS);
  const chosen = all.filter(([name]) => words.includes("all") || words.includes(name));
  const names = await notUp(chosen.map(([name]) => name));
  const own = names.map((name) => MODELS[name]!.model);
  const kept = own.filter(hasData);
  const nameOf = (model: Model) => all.find(([, one]) => one.model === model)![0];
  const models = chosen.map(([, { model }]) => model);
  const dashboard = await startDashboard({
    port,
    models,
    withUpLock,
    settingsOf: (model) => settingsAgain(nameOf(model), model),
    namespaceOf,
    protectionsOf: async (model) => Object.keys((await weavingOf(model)).PROTECTIONS),
    nameOf,
  }).catch((error: unknown) => {
    const { code } = error as { code?: string };
    if (code !== "EADDRINUSE") throw error;
    throw new UsageError(`port ${port} is in use: scripts/lab live --port N takes another`);
  });
  console.log(`The page: ${dashboard.url}\n`);
  if (opens) openBrowser(dashboard.url);
  try {
    if (names.length > 0) {
      const how = { fresh: false, foreground: false };
      await withUpLock(() => startAll(names, how, signal), signal);
    }
    if (picture !== undefined) {
      await unlessAborted(signal, takeLivePicture(dashboard.url, models, picture));
      return console.log(picture);
    }
    console.log("All is up; Ctrl-C ends what was started here.");
    await new Promise<void>((resolve) => {
      if (signal.aborted) resolve();
      signal.addEventListener("abort", () => resolve());
    });
  } finally {
    // What was up before stays up.
    const lasting = models.filter((model) => !own.includes(model));
    await dashboard.stop(lasting).catch((error: Error) => say(error.message));
    const { ended } = await withUpLock(() => takeDown(own, kept));
    if (ended.length > 0) say(`down: ${ended.join(", ")}`);
  }
}

/** Those of the models of which no service runs: what is up stays somebody else's. */
async function notUp(names: string[]): Promise<string[]> {
  const { services } = await readState();
  return names.filter(
    (name) => !services.some((one) => one.model === MODELS[name]!.model && serviceRuns(one)),
  );
}

function openBrowser(url: string): void {
  const { DISPLAY, WAYLAND_DISPLAY } = process.env;
  const isMac = process.platform === "darwin";
  const opener = isMac ? "open" : DISPLAY || WAYLAND_DISPLAY ? "xdg-open" : undefined;
  if (opener === undefined || Bun.which(opener) === null) return;
  Bun.spawn([opener, url], { stdin: "ignore", stdout: "ignore", stderr: "ignore" }).unref();
}
