/** The yardsticks: small programs beside which the models are measured, each a process of its own. */
import { labFolder } from "@lab/evidence/folders";
import { register } from "@lab/lab/services/process-handle";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";

const FOLDER = join(import.meta.dir, "yardsticks");

/** A yardstick that serves HTTP. */
interface Yardstick extends AsyncDisposable {
  readonly url: string;
}

/** Three of them, as the services of a model. */
export interface Hops extends AsyncDisposable {
  /** Where orders are placed. */
  readonly url: string;
  /** The two that it calls. */
  readonly neighbours: readonly string[];
}

/** The three hops on raw Bun.serve, with databases in that folder. */
export async function startBunHops(folder: string, synchronous: "NORMAL" | "FULL"): Promise<Hops> {
  await mkdir(folder, { recursive: true });
  const program = [process.execPath, "--no-env-file", join(FOLDER, "rest-hops.ts")];
  return startHops((role, urls) => [
    ...program,
    role,
    join(folder, `${role}.sqlite`),
    synchronous,
    ...urls,
  ]);
}

/** The three hops in Go; undefined where no Go is found. Throws when it doesn't build. */
export async function startGoHops(): Promise<Hops | undefined> {
  const go = Bun.which("go");
  if (go === null) return undefined;
  const program = join(labFolder, "bench", "rest-hops");
  const build = Bun.spawnSync([go, "build", "-o", program, join(FOLDER, "rest-hops.go")], {
    stderr: "pipe",
  });
  if (!build.success) throw new Error(`go build: ${build.stderr.toString()}`);
  return startHops((role, urls) => [program, role, ...urls]);
}

async function startHops(commandOf: (role: string, urls: string[]) => string[]): Promise<Hops> {
  const inventory = await startYardstick(commandOf("inventory", []));
  const notification = await startYardstick(commandOf("notification", []));
  const order = await startYardstick(commandOf("order", [inventory.url, notification.url]));
  const all = [order, notification, inventory];
  return {
    url: order.url,
    neighbours: [inventory.url, notification.url],
    async [Symbol.asyncDispose]() {
      for (const one of all) await one[Symbol.asyncDispose]();
    },
  };
}

/** Runs a yardstick to its end; the messages per second that it says. Throws when it fails. */
export async function runYardstick(
  name: "kafka-relay" | "rabbitmq-publish" | "rabbitmq-relay",
  words: readonly (number | string)[],
): Promise<number> {
  const command = [process.execPath, "--no-env-file", join(FOLDER, `${name}.ts`)];
  const child = Bun.spawn([...command, ...words.map(String)], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  register(child, name);
  const [output, exitCode] = await Promise.all([child.stdout.text(), child.exited]);
  if (exitCode !== 0) throw new Error(`${name} ended with ${exitCode}`);
  return (JSON.parse(output) as { per_s: number }).per_s;
}

/** Starts a program that says on a line of its output where it listens. Throws when it ends before that. */
async function startYardstick(command: string[]): Promise<Yardstick> {
  const child = Bun.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
  register(child, command.join(" "));
  for await (const chunk of child.stdout) {
    const { url } = JSON.parse(new TextDecoder().decode(chunk)) as { url: string };
    return {
      url,
      async [Symbol.asyncDispose]() {
        child.kill();
        await child.exited;
      },
    };
  }
  throw new Error(`${command.join(" ")} ended with ${await child.exited}`);
}
