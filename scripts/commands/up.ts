import { servicesKind } from "@lab/lab/services/compose-services";
import { follow } from "../run/follow.ts";
import { endOwned, hasData, withUpLock } from "../up/campus.ts";
import { type Command, UsageError } from "../command.ts";
import { describeUp } from "../up/describe.ts";
import type { UpOptions } from "../up/start.ts";
import { all, refuseWrongWords, startAll } from "../up/start-all.ts";
import { interruptible } from "../interrupt.ts";
import { outputClosed, PIPE_CLOSED, print, say } from "../say.ts";

export const command: Command = {
  summary: "start models on their fixed ports, with faults on",
  usage: "[sync|async|stream|all] [--fresh] [--foreground]",
  details: `Returns when all is healthy and leaves it running; scripts/lab down ends it. Whatever runs
later uses these brokers: containers where Docker Compose is, else processes.

What has ended of a model that is up (kill -9 it), services and broker, is started again on its data;
without a word, of every model that is up, or whose data an up --foreground has left. Databases are empty at the first start, after scripts/lab down,
and with --fresh.

Ports: sync 8001, 8002, 8009; async 8011, 8012, 8019; stream 8021, 8022, 8029; ORDER_PORT,
INVENTORY_PORT, NOTIFICATION_PORT and ANALYTICS_PORT change them. What the services themselves know goes
to them, faults among it: INVENTORY_DELAY_MS=2000 scripts/lab up sync. Nothing else of the environment does.`,
  options: {
    foreground: {
      type: "boolean",
      summary: "show the services' logs; Ctrl-C stops all, and the data stay for the next start",
    },
    fresh: {
      type: "boolean",
      summary: "end what runs of them, delete its data, and start anew",
    },
  },
  async run({ options, words }) {
    refuseWrongWords(words);
    if (servicesKind() === "compose") {
      throw new UsageError(
        "LAB_SERVICES=compose is for experiments; else type: cd <part> && docker compose up --build",
      );
    }
    const how = { foreground: options["foreground"] === true, fresh: options["fresh"] === true };
    return interruptible((signal) =>
      how.foreground ? runInForeground(words, how, signal) : leaveRunning(words, how, signal),
    );
  },
};

async function leaveRunning(
  words: readonly string[],
  how: UpOptions,
  signal: AbortSignal,
): Promise<number> {
  await withUpLock(() => startAll(words, how, signal), signal);
  console.log(await describeUp());
  console.log("\nscripts/lab down ends it.");
  return 0;
}

async function runInForeground(
  words: readonly string[],
  how: UpOptions,
  signal: AbortSignal,
): Promise<number> {
  // A person reads the log: show each order's steps too.
  process.env["LOG_LEVEL"] ||= "debug";
  const starts = await withUpLock(() => startAll(words, how, signal), signal);
  const services = starts.flatMap(({ started }) => started);
  console.log(await describeUp());
  console.log("\nThe services' logs follow; Ctrl-C stops all.\n");
  const labels = services.map(({ model, name }) => (starts.length > 1 ? `${model}/${name}` : name));
  const width = Math.max(...labels.map((label) => label.length));
  const unfollow = services.map(({ logFile, logStart }, index) => {
    const show = (line: string) => {
      // Spans tell a program what the other lines tell a person.
      if (!line.includes('"event":"span_')) print(`${labels[index]!.padEnd(width)} | ${line}`);
    };
    return follow(logFile, show, logStart);
  });
  let code = 1;
  try {
    const ended = await Promise.race([
      new Promise<undefined>((resolve) => {
        // The signal may have come while the first lines were printed.
        if (signal.aborted) resolve(undefined);
        signal.addEventListener("abort", () => resolve(undefined));
      }),
      ...services.map(async ({ exited, name }) => {
        return `${name} (exit code ${await exited})`;
      }),
      outputClosed().then(() => void (code = PIPE_CLOSED)),
    ]);
    if (ended !== undefined) say(`${ended} has ended`);
  } finally {
    await withUpLock(() => all(starts, endOwned));
    for (const end of unfollow) end();
  }
  // Otherwise scripts/lab down has taken it down.
  if (starts.some(({ model }) => hasData(model))) {
    say(
      "stopped; the data stay: scripts/lab up goes on with them, after scripts/lab down it begins anew",
    );
  }
  // Ctrl-C is the normal end.
  process.exit(signal.aborted ? 0 : code);
}
