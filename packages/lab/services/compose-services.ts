import { spawnSync } from "node:child_process";
import { projectOf } from "../brokers/compose-broker.ts";
import { dockerProblem } from "../machine/compose-engine.ts";
import {
  compose,
  type ComposeProject,
  endProject,
  openProject,
  override,
  pause,
} from "../machine/compose.ts";
import { inTurn } from "../host/in-turn.ts";
import { runQuietly } from "../host/run.ts";
import type { Model } from "@lab/evidence/evidence";
import { type ProcessHandle, register } from "./process-handle.ts";
import { settings } from "@lab/evidence/settings";

/**
 * Variables that the compose file sets for containers, and the lab for processes of this machine.
 */
const SET_BY_COMPOSE_FILE = new Set([
  "AMQP_URL",
  "DATABASE",
  "INVENTORY_URL",
  "KAFKA_BROKERS",
  "LISTEN_HOST",
  "NOTIFICATION_URL",
  "PORT",
]);

/** How the services run: LAB_SERVICES, by default as processes of this machine. */
export function servicesKind(): "native" | "compose" {
  return settings().labServices;
}

/** Throws, with what to type, where LAB_SERVICES wants containers: a proof needs processes. */
export function refuseContainers(): void {
  if (servicesKind() === "native") return;
  throw new Error(
    "a proof's services are processes of this machine: it kills, limits and watches them by their process ids. Type LAB_SERVICES=native before the command",
  );
}

/** A model's services as containers, in a project of their own on their broker's network. */
interface Containers {
  /** Starts a service's container, on the port of `env`; its database and its log are in that folder. */
  spawn(service: string, folder: string, env: Record<string, string>): Promise<ProcessHandle>;
  end(): Promise<void>;
}

/**
 * Prepares to start services as containers; undefined where LAB_SERVICES doesn't ask for them.
 * Throws when that isn't possible.
 */
export async function openContainers(
  model: Model,
  address: string | undefined,
): Promise<Containers | undefined> {
  if (servicesKind() === "native") return undefined;
  const problem = dockerProblem();
  if (problem !== undefined) throw new Error(`LAB_SERVICES=compose: ${problem}`);
  const broker = address === undefined ? undefined : projectOf(address);
  if (address !== undefined && broker === undefined) {
    throw new Error(
      "LAB_SERVICES=compose needs LAB_BROKERS=compose: from their network containers reach no other broker",
    );
  }
  const project = await openProject("services", model, {});
  const networks = broker && {
    networks: { default: { name: `${broker.name}_default`, external: true } },
  };
  const started = new Set<string>();
  // One after the other: two concurrent starts would both create the network.
  const next = inTurn();
  return {
    spawn(service, folder, env) {
      // The code may be newer than the image; a second start uses the same image.
      const build = started.has(service) ? [] : ["--build"];
      started.add(service);
      return next(async () => {
        const name = await describeService(project, service, folder, env, networks);
        return up(project, name, build);
      });
    },
    end: () => endProject(project),
  };
}

/** Writes the override for that service; returns its name in the compose file. */
async function describeService(
  project: ComposeProject,
  service: string,
  folder: string,
  env: Record<string, string>,
  networks: object | undefined,
): Promise<string> {
  // By role, in all three compose files.
  const name = `${service.split("-")[0]}-service`;
  project.env[portVariable(name)] = env["PORT"]!;
  const own = Object.entries(env).filter(([variable]) => !SET_BY_COMPOSE_FILE.has(variable));
  const settings = {
    user: await owner(),
    // The log is where a process's would be. The shell execs the service.
    entrypoint: ["sh", "-c", `exec "$@" >>/data/${service}.log 2>&1`, "sh"],
    environment: { ...Object.fromEntries(own), DATABASE: `/data/${service}.sqlite` },
    // The checker reads the databases from outside the container.
    volumes: [{ type: "bind", source: folder, target: "/data" }],
  };
  await override(project, name, settings, networks);
  return name;
}

/** Starts the container. */
async function up(
  project: ComposeProject,
  name: string,
  options: string[],
): Promise<ProcessHandle> {
  await compose(project, name, "up", "--detach", "--no-deps", ...options);
  const id = (await compose(project, name, "ps", "--all", "--quiet")).trim();
  const pid = Number(await runQuietly(["docker", "inspect", "--format", "{{.State.Pid}}", id]));
  let hasEnded = false;
  const exited = runQuietly(["docker", "wait", id]).then(
    (code) => Number(code),
    // The container was removed, or the engine has ended.
    () => 255,
  );
  void exited.then(() => (hasEnded = true));
  register({ exited, kill: () => void spawnSync("docker", ["kill", id]) }, name);
  const words = {
    SIGCONT: ["unpause"],
    SIGTERM: ["kill", "--signal", "SIGTERM"],
    SIGKILL: ["kill", "--signal", "SIGKILL"],
  };
  return {
    pid,
    exited,
    url: `http://127.0.0.1:${project.env[portVariable(name)]}`,
    get hasEnded() {
      return hasEnded;
    },
    async signal(signal) {
      if (hasEnded) return;
      await (signal === "SIGSTOP"
        ? pause(project, name)
        : compose(project, name, ...words[signal]));
    },
  };
}

/** The variable with a service's port: INVENTORY_PORT for inventory-service and inventory-consumer. */
export function portVariable(service: string): string {
  return `${service.split("-")[0]!.toUpperCase()}_PORT`;
}

/** Files in a run's folder must belong to its owner, who removes it. */
async function owner(): Promise<string> {
  const security = await runQuietly(["docker", "info", "--format", "{{.SecurityOptions}}"]);
  // In rootless Docker, root in a container is the caller outside.
  if (security.includes("rootless")) return "0:0";
  return `${process.getuid?.()}:${process.getgid?.()}`;
}
