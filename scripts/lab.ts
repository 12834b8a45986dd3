// The lab's command line: finds the command, shows help, and turns errors into exit codes.
// 0 success, 1 failure, 2 the command line or the environment is wrong, 130 interrupted.
import { readdirSync } from "node:fs";
import { bypassProxy } from "@lab/evidence/settings";
import { textTable } from "@lab/lab/host/text-table";
import { ConfigError } from "@lab/runtime/env";
import { join } from "node:path";
import { type Command, helpOn, parseInput, unknown, UsageError } from "./command.ts";
import { checkEnvironment } from "./up/environment.ts";
import { say } from "./say.ts";

const folder = join(import.meta.dir, "commands");
const names = readdirSync(folder)
  .map((file) => file.replace(/\.ts$/, ""))
  .toSorted();

const exitCode = await main(process.argv.slice(2));
// An interrupted command doesn't wait for what it has started; lifelines end that.
if (exitCode > 128) process.exit(exitCode);
process.exitCode = exitCode;

async function main(args: string[]): Promise<number> {
  // A pipe that is closed early, as by `head`, must not end the work.
  process.stdout.on("error", () => {});
  // The default command.
  const [name = "all", ...rest] = args;
  bypassProxy();
  try {
    if (["help", "--help", "-h"].includes(name)) {
      const [about] = rest;
      console.log(about ? helpOn(about, await load(about)) : await overview());
      return 0;
    }
    const command = await load(name);
    if (rest.some((arg) => ["--help", "-h"].includes(arg))) {
      console.log(helpOn(name, command));
      return 0;
    }
    const input = parseInput(rest, command.options);
    checkEnvironment();
    return await command.run(input);
  } catch (error) {
    if (error instanceof ConfigError) {
      say(`lab: ${error.message}`);
      return 2;
    }
    if (error instanceof UsageError) {
      say(`lab: ${error.message}`);
      const about = names.includes(name) ? `${name} ` : "";
      say(`See: scripts/lab ${about}--help`);
      return 2;
    }
    // A plain Error is a message for the user and needs no stack; a bug does.
    const meant = error instanceof Error && error.constructor === Error;
    say(`lab: ${meant ? error.message : Bun.inspect(error)}`);
    return 1;
  }
}

async function load(name: string): Promise<Command> {
  if (!names.includes(name)) {
    throw new UsageError(unknown("command", name, names));
  }
  const module = (await import(join(folder, `${name}.ts`))) as {
    command: Command;
  };
  return module.command;
}

async function overview(): Promise<string> {
  const rows = await Promise.all(
    names.map(async (name) => {
      const { summary } = await load(name);
      return [`  ${name}`, summary];
    }),
  );
  return `The campus food ordering lab: one order, three ways for services to talk.

Usage: scripts/lab [COMMAND] [--help]

Without a command it does the main job (all).

${textTable(rows).join("\n")}

Environment:
  AMQP_URL, KAFKA_BROKERS  brokers that run already, instead of private ones
  LAB_BROKERS              external, compose or native: this kind of broker and no other
                           (external, else compose where Docker is, else native)
  LAB_SERVICES=compose     experiments run the services in containers too
  LAB_INSTALL=no           install nothing, not even as root on Debian
  LAB_SEED                 the seed of the experiments (1)
  LAB_LENGTH               short, full or long rounds (full; lab test: short)
  LAB_OUTAGE_S             how long Inventory is away in backlog-drain (60; short: 10)
  LAB_STORM_MINUTES        how long a storm rages (2; short: 0.5)
  NO_COLOR                 no colours
  LAB_RUN_DIR              where a run's evidence goes (.lab/runs/<time>)`;
}
