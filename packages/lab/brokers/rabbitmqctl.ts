import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { Broker, NativePlan } from "./broker.ts";
import { compose } from "../machine/compose.ts";
import { projectOf } from "./compose-broker.ts";

/**
 * Runs `rabbitmqctl WORDS` on a broker of the lab and returns its output. Throws with that when it
 * fails, and for an external broker.
 */
export async function rabbitmqctl(broker: Broker, ...words: string[]): Promise<string> {
  const { command, ...options } = await controlOf(broker);
  const child = Bun.spawn([...command, ...words], {
    ...options,
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
    timeout: 30_000,
  });
  const [text, complaint] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  if ((await child.exited) !== 0) {
    throw new Error(`rabbitmqctl ${words.join(" ")}: ${text}${complaint}`);
  }
  return text;
}

async function controlOf({ address, folder, kind }: Broker) {
  const project = projectOf(address);
  if (project !== undefined) {
    const id = (await compose(project, "rabbitmq", "ps", "--quiet")).trim();
    return { command: ["docker", "exec", id, "rabbitmqctl"], env: process.env };
  }
  if (kind !== "native" || folder === undefined) {
    throw new Error("rabbitmqctl is for a broker of the lab's own");
  }
  const { plan } = JSON.parse(await readFile(join(folder, "plan.json"), "utf8")) as {
    plan: NativePlan;
  };
  const { RABBITMQ_CONF_ENV_FILE, RABBITMQ_DIST_PORT, RABBITMQ_NODENAME } = plan.env;
  const server = plan.command.at(-1)!;
  return {
    command: [...plan.command.slice(0, -1), join(dirname(server), "rabbitmqctl")],
    // To which the server's path may be relative.
    cwd: folder,
    env: {
      PATH: process.env["PATH"],
      LANG: "C.UTF-8",
      // The folder of the cookie.
      HOME: folder,
      RABBITMQ_CONF_ENV_FILE,
      RABBITMQ_NODENAME,
      // The node has no epmd, see rabbitmq.ts, and rabbitmqctl can't listen on the node's port
      // itself.
      RABBITMQ_CTL_ERL_ARGS: `-start_epmd false -erl_epmd_port ${RABBITMQ_DIST_PORT} -dist_listen false`,
    },
  };
}
