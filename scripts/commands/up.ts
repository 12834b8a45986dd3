import { servicesKind } from "@lab/lab/compose-services";
import { follow } from "@lab/lab/follow";
import { readState } from "@lab/lab/state";
import { modelsUp, prepare, revive, start, type Started, takeDown } from "../campus.ts";
import { type Command, unknown, UsageError } from "../command.ts";
import { saySettings } from "../environment.ts";
import { interruptible } from "../interrupt.ts";
import { MODELS } from "../models.ts";
import { PIPE_CLOSED, print, say, unread } from "../say.ts";
import { describeUp } from "../describe.ts";

export const command: Command = {
  summary: "start models on their fixed ports, with faults on",
  usage: "sync|async|stream|all [--foreground]",
  details: `Returns when all is healthy and leaves it running; scripts/lab down ends it. Whatever runs
later uses these brokers: containers where Docker Compose is, else processes. Databases are empty at the start. A service of a model that is up, but
has ended (kill -9 it), is started again on its database.

Ports: sync 8001, 8002, 8009; async 8011, 8012, 8019; stream 8021, 8022, 8029; ORDER_PORT,
INVENTORY_PORT, NOTIFICATION_PORT and ANALYTICS_PORT change them. What the services themselves know goes
to them, faults among it: INVENTORY_DELAY_MS=2000 scripts/lab up sync. Nothing else of the environment does.`,
  options: {
    foreground: {
      type: "boolean",
      summary: "show the services' logs; Ctrl-C takes all down",
    },
  },
  async run({ options, words }) {
    const names = namesOf(words);
    if (names.length > 1) forbidSharedPorts();
    if (servicesKind() === "compose") {
      throw new UsageError(
        "LAB_SERVICES=compose is for experiments; else type: cd <part> && docker compose up --build",
      );
    }
    await saySettings(modelsOf(names));
    return interruptible((signal) =>
      options["foreground"] === true ? runInForeground(names, signal) : leaveRunning(names, signal),
    );
  },
};

function namesOf(words: readonly string[]): string[] {
  const known = Object.keys(MODELS);
  if (words.length === 0) {
    throw new UsageError(`what is to start: ${known.join(", ")} or all?`);
  }
  for (const word of words) {
    if (word !== "all" && !known.includes(word)) {
      throw new UsageError(unknown("model", word, [...known, "all"]));
    }
  }
  return words.includes("all") ? known : known.filter((name) => words.includes(name));
}

function forbidSharedPorts(): void {
  for (const name of ["ORDER", "INVENTORY", "NOTIFICATION"]) {
    if (!process.env[`${name}_PORT`]) continue;
    throw new UsageError(`${name}_PORT is for one model: start them one after the other`);
  }
}

async function leaveRunning(names: string[], signal: AbortSignal): Promise<number> {
  const missing: string[] = [];
  for (const name of names) {
    const revived = await revive(name);
    if (revived === undefined) missing.push(name);
    else if (revived.length > 0)
      say(`${name}: started again on its database: ${revived.join(", ")}`);
    else say(`${name} is up already, with its settings as they were; scripts/lab down ends it`);
  }
  await startAll(missing, true, signal);
  console.log(await describeUp());
  console.log("\nscripts/lab down ends it.");
  return 0;
}

async function runInForeground(names: string[], signal: AbortSignal): Promise<number> {
  const up = modelsUp(await readState());
  for (const name of names) {
    if (!up.includes(MODELS[name]!.model)) continue;
    throw new Error(`${name} is up already: scripts/lab down ends it`);
  }
  // Somebody watches: show each order's steps too.
  process.env["LOG_LEVEL"] ||= "debug";
  const started = await startAll(names, false, signal);
  const services = started.flatMap(({ campus }) => campus.services);
  console.log(await describeUp());
  console.log("\nThe services' logs follow; Ctrl-C takes all down.\n");
  const several = names.length > 1;
  const labels = services.map(({ model, name }) => (several ? `${model}/${name}` : name));
  const width = Math.max(...labels.map((label) => label.length));
  const unfollow = services.map(({ logFile }, index) =>
    follow(logFile, (line) => print(`${labels[index]!.padEnd(width)} | ${line}`)),
  );
  let code = 1;
  try {
    const ended = await Promise.race([
      new Promise<undefined>((resolve) => {
        // It may have come while the first lines were printed.
        if (signal.aborted) resolve(undefined);
        signal.addEventListener("abort", () => resolve(undefined));
      }),
      ...services.map(async ({ exited, name }) => {
        await exited;
        return name;
      }),
      unread().then(() => void (code = PIPE_CLOSED)),
    ]);
    if (ended !== undefined) say(`${ended} has ended`);
  } finally {
    await endAll(names, started);
    for (const end of unfollow) end();
  }
  // Ctrl-C is how it is meant to end.
  process.exit(signal.aborted ? 0 : code);
}

/** Starts them side by side. When one fails, or on Ctrl-C, none is left. */
async function startAll(
  names: string[],
  lasting: boolean,
  signal: AbortSignal,
): Promise<Started[]> {
  if (names.length === 0) return [];
  await prepare(names);
  const starts = names.map((name) => start(name, lasting));
  // What was started is killed under the hands of those who wait for it to be ready.
  const onAbort = () => void takeDown(modelsOf(names));
  signal.addEventListener("abort", onAbort);
  const results = await Promise.allSettled(starts);
  signal.removeEventListener("abort", onAbort);
  const started = results.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
  const failed = results.find((one) => one.status === "rejected");
  if (failed === undefined && !signal.aborted) return started;
  await endAll(names, started);
  throw failed?.reason ?? signal.reason;
}

async function endAll(names: string[], started: Started[]): Promise<void> {
  await takeDown(modelsOf(names));
  for (const { broker } of started) await broker?.stop();
}

function modelsOf(names: string[]) {
  return names.map((name) => MODELS[name]!.model);
}
