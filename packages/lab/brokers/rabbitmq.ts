import { chmod, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "amqplib";
import { provide } from "../machine/doctor.ts";
import type { NativePlan } from "./broker.ts";
import { becomesFree, freePorts } from "../host/ports.ts";
import { LOADS_FIRST, slimServer } from "./rabbitmq/slim-home.ts";

export interface RabbitmqPorts {
  amqp: number;
  management: number;
  /** Erlang's own port between nodes, which every node has. */
  distribution: number;
}

/**
 * How long a quorum queue has to exist before RabbitMQ 3.10 may be killed. If it is killed within a
 * second of the declaration, the queue has no leader afterwards and is empty, and its consumers
 * wait for ever (seen 3 times of 3 after 0 s and after 0.5 s, never after 1.5 s and more).
 */
export const QUEUE_SETTLES_S = 3;

/**
 * Writes the settings of a private RabbitMQ with its management page into the folder; returns how to run it. Throws when RabbitMQ is missing.
 *
 * Nothing of it can meet another RabbitMQ: all ports are ours and on 127.0.0.1, the node's name, cookie, user and password are made up here.
 */
export async function planRabbitmq(folder: string, ports: RabbitmqPorts): Promise<NativePlan> {
  const { rabbitmq } = await provide(["rabbitmq"]);
  const password = crypto.randomUUID().replaceAll("-", "");
  const node = `lab-${crypto.randomUUID().slice(0, 8)}@localhost`;
  await writeFile(
    join(folder, "rabbitmq.conf"),
    `listeners.tcp.local = 127.0.0.1:${ports.amqp}
management.tcp.ip = 127.0.0.1
management.tcp.port = ${ports.management}
default_user = lab
default_pass = ${password}
log.file = false
log.console = true
log.console.level = info
# The management page shows figures of every second instead of every five.
collect_statistics_interval = 1000
management.sample_retention_policies.global.minute = 1
management.sample_retention_policies.basic.minute = 1
management.sample_retention_policies.detailed.minute = 1
`,
  );
  await writeFile(join(folder, "enabled_plugins"), "[rabbitmq_management].\n");
  // Empty, so that the machine's rabbitmq-env.conf isn't read.
  await writeFile(join(folder, "rabbitmq-env.conf"), "");
  await writeFile(join(folder, ".erlang.cookie"), crypto.randomUUID());
  await chmod(join(folder, ".erlang.cookie"), 0o400);
  return {
    name: "rabbitmq",
    folder,
    data: join(folder, "data", node),
    address: `amqp://lab:${password}@127.0.0.1:${ports.amqp}`,
    managementUrl: `http://127.0.0.1:${ports.management}`,
    ports: [ports.amqp, ports.management, ports.distribution],
    command: await slimServer(folder, rabbitmq.path),
    env: {
      ERL_AFLAGS: LOADS_FIRST,
      RABBITMQ_NODENAME: node,
      RABBITMQ_CONFIG_FILE: join(folder, "rabbitmq.conf"),
      RABBITMQ_CONF_ENV_FILE: join(folder, "rabbitmq-env.conf"),
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, "enabled_plugins"),
      RABBITMQ_MNESIA_BASE: join(quotable(folder), "data"),
      RABBITMQ_LOG_BASE: join(folder, "log"),
      RABBITMQ_LOG: "-color",
      RABBITMQ_DIST_PORT: String(ports.distribution),
      // The script execs the Erlang VM instead of waiting for it: one process, whose id is known.
      // `-noinput` must then be passed explicitly.
      RABBITMQ_ALLOW_INPUT: "1",
      // With a name and a known port from the start, the node needs no epmd, which would be shared
      // with other nodes and outlive this one, and RabbitMQ doesn't start two more Erlang VMs to
      // look for one: up in 3 s instead of 17.
      RABBITMQ_SERVER_START_ARGS: [
        "-noinput",
        `-sname ${node}`,
        "-start_epmd false",
        `-erl_epmd_port ${ports.distribution}`,
        "-kernel inet_dist_use_interface {127,0,0,1}",
        // Otherwise the monitor would start an epmd once a minute.
        "-eval (catch(supervisor:terminate_child(rabbit_sup,rabbit_epmd_monitor_sup))).",
        // How often a quorum queue reports its length, also to the management page.
        "-rabbit quorum_tick_interval 1000",
        // Every two minutes RabbitMQ drops the counts of closed channels, also those of the last
        // second, which no statistics have yet. Once a day, every delivery is counted.
        "-rabbit core_metrics_gc_interval 86400000",
      ].join(" "),
    },
    versions: { rabbitmq: rabbitmq.version },
  };
}

/**
 * Gives the management page of a stopped RabbitMQ another port, where its own is in use: the page
 * is for people, and must not prevent a start. Changes the plan and its settings; returns whether
 * it was necessary.
 */
export async function moveManagement(plan: NativePlan): Promise<boolean> {
  if (plan.managementUrl === undefined) return false;
  const taken = Number(new URL(plan.managementUrl).port);
  if (await becomesFree(taken)) return false;
  const [port] = (await freePorts(1)) as [number];
  const file = join(plan.folder, "rabbitmq.conf");
  const setting = "management.tcp.port = ";
  const text = await readFile(file, "utf8");
  await writeFile(file, text.replace(`${setting}${taken}\n`, `${setting}${port}\n`));
  plan.managementUrl = `http://127.0.0.1:${port}`;
  plan.ports = plan.ports.map((one) => (one === taken ? port : one));
  process.stderr.write(
    `port ${taken} is in use: RabbitMQ's management page is at ${plan.managementUrl}\n`,
  );
  return true;
}

/**
 * The broker's folder under a name that needs no escaping in a shell's quotes: RabbitMQ passes it
 * to `df`, and stops monitoring the disk where the name isn't ASCII. It is the process's working
 * directory, and only Linux has this name for it.
 */
function quotable(folder: string): string {
  return process.platform === "linux" && !/^[\w./ -]*$/.test(folder) ? "/proc/self/cwd" : folder;
}

/**
 * The versions that the broker at that address reports; queries the management API too, where there
 * is one. Throws when either doesn't answer.
 */
export async function probeRabbitmq(
  address: string,
  managementUrl?: string,
): Promise<Record<string, string>> {
  const connection = await connect(address, { timeout: 5_000 });
  const { version, platform } = connection.connection.serverProperties;
  await connection.close();
  if (managementUrl !== undefined) {
    const { username, password } = new URL(address);
    const answer = await fetch(new URL("/api/overview", managementUrl), {
      headers: {
        authorization: `Basic ${btoa(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`)}`,
      },
      signal: AbortSignal.timeout(5_000),
    });
    if (!answer.ok) throw new Error(`${managementUrl}/api/overview answers ${answer.status}`);
  }
  return { rabbitmq: version, erlang: platform.replace(/^Erlang\/OTP /, "") };
}
