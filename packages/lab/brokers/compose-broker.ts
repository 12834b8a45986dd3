import { existsSync } from "node:fs";
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Broker, type BrokerName, dataLost, type ProxiedListener } from "./broker.ts";
import {
  compose,
  type ComposeProject,
  endProject,
  endsWithUs,
  imageOf,
  openProject,
  override,
  pause,
  provideImage,
  rabbitmqPassword,
} from "../machine/compose.ts";
import type { Model } from "@lab/evidence/evidence";
import { models } from "@lab/evidence/experiments";
import { factsOf } from "./model-facts.ts";
import { probeKafka } from "./kafka.ts";
import { lifelineEnds } from "../host/lifeline.ts";
import { runQuietly } from "../host/run.ts";
import { dockerProblem } from "../machine/compose-engine.ts";
import { assertPortsFree, freePorts } from "../host/ports.ts";
import { probeRabbitmq } from "./rabbitmq.ts";
import { eventually } from "../host/waiting.ts";

const START_TIMEOUT_MS = 120_000;
/** Of Kafka's listener PROXIED, in its container. */
const PROXIED_PORT = 9094;

/** The model that uses the broker: its compose file names the image. */
function modelOf(name: BrokerName): Model {
  return models.find(({ model }) => factsOf(model).broker?.name === name)!.model;
}

/** Fetches the broker's image unless it is there. Throws, with the reason, when that fails. */
export async function pullBroker(name: BrokerName): Promise<void> {
  await provideImage(await imageOf(modelOf(name), name));
}

/** The broker of a part's compose file as a container of the lab. Plain data, stored in its folder. */
interface ComposePlan {
  name: BrokerName;
  project: ComposeProject;
  address: string;
  managementUrl?: string;
  proxied?: ProxiedListener;
  /** The folder of the lifeline with which the container ends; its data are kept. */
  lifeline?: string;
  /** Set once it has answered: since then its volume has data. */
  answered?: true;
}

/** Starts the broker's container and returns when it answers. Throws with the end of its log when it doesn't. */
export async function startComposeBroker(
  name: BrokerName,
  { dataIn, managementPort }: { dataIn?: string; managementPort?: number },
  lifeline: string | undefined,
): Promise<Broker> {
  const plan = await planCompose(name, dataIn, managementPort);
  // A lasting broker is ended by `lab down`, not by the process that started it.
  const broker = await runCompose(plan, lifeline, () => endProject(plan.project));
  if (dataIn === undefined) broker.end = () => endProject(plan.project);
  return broker;
}

/** Restarts the container of that folder's broker, on its data and ports. Throws as `startComposeBroker` does; the data are kept. */
export async function startComposeAgain(
  folder: string,
  lifeline: string | undefined,
): Promise<Broker> {
  const { lifeline: former, ...plan } = await readPlan(folder);
  needDocker(plan.name);
  if (former !== undefined) await lifelineEnds(former);
  await refuseLostData(plan);
  // There a proxy of ours may listen.
  const { KAFKA_PROXY_PORT: _, ...published } = plan.project.env;
  await assertPortsFree(plan.name, Object.values(published).map(Number));
  return runCompose(plan, lifeline, async () => void (await killCompose(folder)));
}

/** Runs the planned container; calls `undo` when it doesn't start. */
async function runCompose(
  plan: ComposePlan,
  lifeline: string | undefined,
  undo: () => Promise<void>,
): Promise<ComposeBroker> {
  const { name, project } = plan;
  const written: ComposePlan = { ...plan, ...(lifeline === undefined ? {} : { lifeline }) };
  await writePlan(written);
  const broker = new ComposeBroker(plan);
  if (lifeline !== undefined) broker.end = endsWithUs(project, lifeline);
  try {
    // An existing container is not changed.
    await compose(project, name, "up", "--detach", "--no-deps", "--no-recreate");
    await broker.untilItAnswers();
    await writePlan({ ...written, answered: true });
  } catch (error) {
    const words = ["logs", "--no-color", "--no-log-prefix", "--tail", "40"];
    const log = await compose(project, name, ...words).catch(() => "");
    await broker.stop();
    await undo();
    // A broker process can't use data in a volume.
    const hint = plan.answered ? "" : "LAB_BROKERS=native does without Docker";
    throw new Error(`${(error as Error).message}\n${Bun.stripANSI(log)}${hint}`.trimEnd());
  }
  return broker;
}

/** Docker would silently create an empty volume in place of a removed one. */
async function refuseLostData({ answered, name, project }: ComposePlan): Promise<void> {
  if (answered === undefined) return;
  const volume = `${project.name}_${name}`;
  const volumes = await runQuietly(["docker", "volume", "ls", "--quiet"]);
  if (volumes.split("\n").includes(volume)) return;
  throw dataLost(`${name}'s data are gone: there is no volume ${volume} any more`);
}

/**
 * The broker of that folder, which another process has started and will end; undefined when it
 * isn't a container or doesn't run.
 */
export async function attachCompose(folder: string): Promise<Broker | undefined> {
  if (!(await composeRuns(folder))) return undefined;
  const plan = await readPlan(folder);
  const paused = await containerOf(plan, "paused");
  if (paused !== "") {
    throw new Error(
      `${plan.name} is paused: docker unpause ${paused} lets it go on, docker kill ${paused} ends it`,
    );
  }
  const broker = new ComposeBroker(plan);
  await broker.untilItAnswers();
  return broker;
}

/** Whether the broker of that folder is a container that runs or is paused. */
export async function composeRuns(folder: string): Promise<boolean> {
  return isCompose(folder) && isRunning(await readPlan(folder));
}

/** Whether the broker of that folder is a container that is paused. */
export async function composePaused(folder: string): Promise<boolean> {
  return isCompose(folder) && (await containerOf(await readPlan(folder), "paused")) !== "";
}

/** Whether that folder has the plan of a broker that is or was a container. */
export function isCompose(folder: string): boolean {
  return existsSync(planFile(folder));
}

/** SIGKILL for the container of that folder's broker; returns whether it ran. */
export async function killCompose(folder: string): Promise<boolean> {
  if (!(await composeRuns(folder))) return false;
  const { name, project } = await readPlan(folder);
  await compose(project, name, "kill", "--signal", "SIGKILL");
  return true;
}

/** Removes the container of that folder's broker, with its data; returns whether there was one. */
export async function endCompose(folder: string): Promise<boolean> {
  if (!isCompose(folder)) return false;
  const { name, project } = await readPlan(folder);
  needDocker(name);
  const id = await compose(project, name, "ps", "--all", "--quiet");
  await endProject(project);
  // Otherwise a later start that needs no Docker would fail where the engine isn't available.
  await rm(planFile(folder), { force: true });
  return id !== "";
}

/** Projects of the brokers that this process has started or attached to, by the address on the host. */
const projects = new Map<string, ComposeProject>();

/** The project of the broker at that address; undefined when it isn't a container of ours. */
export function projectOf(address: string): ComposeProject | undefined {
  return projects.get(address);
}

async function planCompose(
  name: BrokerName,
  dataIn: string | undefined,
  managementPort: number | undefined,
): Promise<ComposePlan> {
  const [client, second, advertised] = (await freePorts(3)) as [number, number, number];
  if (name === "kafka") {
    const env = { KAFKA_PORT: String(client), KAFKA_PROXY_PORT: String(advertised) };
    const project = await openProject(name, modelOf(name), env, dataIn);
    await override(project, name, { ports: [`127.0.0.1:${second}:${PROXIED_PORT}`] });
    const proxied = { listener: second, advertised };
    return { name, project, address: `127.0.0.1:${client}`, proxied };
  }
  const management = managementPort ?? second;
  const env = { RABBITMQ_PORT: String(client), RABBITMQ_MANAGEMENT_PORT: String(management) };
  const project = await openProject(name, modelOf(name), env, dataIn);
  await override(project, name, {});
  return {
    name,
    project,
    address: `amqp://lab:${await rabbitmqPassword()}@127.0.0.1:${client}`,
    managementUrl: `http://127.0.0.1:${management}`,
  };
}

class ComposeBroker implements Broker {
  readonly kind = "compose";
  readonly name: BrokerName;
  readonly address: string;
  readonly managementUrl?: string;
  readonly proxied?: ProxiedListener;
  readonly folder: string;
  /** What `stop` does; undefined for a broker that outlives this process. */
  end: (() => Promise<void>) | undefined;
  versions: Record<string, string> = {};
  readonly #plan: ComposePlan;

  constructor(plan: ComposePlan) {
    this.name = plan.name;
    this.address = plan.address;
    this.folder = plan.project.folder;
    if (plan.managementUrl) this.managementUrl = plan.managementUrl;
    if (plan.proxied) this.proxied = plan.proxied;
    this.#plan = plan;
    projects.set(plan.address, plan.project);
  }

  async start(): Promise<void> {
    await this.#compose("start");
    await this.untilItAnswers();
  }

  /** Returns once it answers a client; throws when the container ends before. */
  async untilItAnswers(): Promise<void> {
    const { address, managementUrl, name } = this.#plan;
    const told = await eventually(
      `${name} answers`,
      async () => {
        try {
          return await (name === "rabbitmq"
            ? probeRabbitmq(address, managementUrl)
            : probeKafka(address));
        } catch (error) {
          if (!(await isRunning(this.#plan))) return "ended";
          throw error;
        }
      },
      { timeoutMs: START_TIMEOUT_MS },
    );
    if (told === "ended") throw new Error(`${name}'s container ended`);
    // Kafka doesn't report its version, but its image's tag does: apache/kafka:4.2.0.
    this.versions =
      name === "rabbitmq"
        ? (told as Record<string, string>)
        : { kafka: (await imageOf(modelOf(name), name)).split(":").at(-1)! };
  }

  async kill(): Promise<void> {
    // A restart policy doesn't undo this: Docker knows that the kill was requested.
    await this.#compose("kill", "--signal", "SIGKILL");
  }

  async pause(): Promise<void> {
    await pause(this.#plan.project, this.name);
  }

  async resume(): Promise<void> {
    await this.#compose("unpause");
  }

  async stop(): Promise<void> {
    const { end } = this;
    if (end === undefined) return;
    this.end = undefined;
    projects.delete(this.address);
    await end();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  #compose(...words: string[]): Promise<string> {
    return compose(this.#plan.project, this.name, ...words);
  }
}

async function isRunning(plan: ComposePlan): Promise<boolean> {
  return (await containerOf(plan, "running", "paused")) !== "";
}

/** The id of the broker's container if it is in one of those states, else empty. */
async function containerOf(
  { name, project }: ComposePlan,
  ...states: ("running" | "paused")[]
): Promise<string> {
  const wanted = states.flatMap((state) => ["--status", state]);
  // Fails when the service's container was never created.
  const id = await compose(project, name, "ps", "--quiet", ...wanted).catch(() => "");
  return id.slice(0, 12);
}

/** Throws, with what to type, where a broker is a container and no engine answers. */
function needDocker(name: BrokerName): void {
  const problem = dockerProblem();
  if (problem !== undefined) throw new Error(`${name} is a container: ${problem}`);
}

async function writePlan(plan: ComposePlan): Promise<void> {
  // The address contains the password.
  await writeFile(planFile(plan.project.folder), JSON.stringify(plan), { mode: 0o600 });
}

async function readPlan(folder: string): Promise<ComposePlan> {
  try {
    return (await Bun.file(planFile(folder)).json()) as ComposePlan;
  } catch (error) {
    throw dataLost(`${planFile(folder)} can't be read: ${(error as Error).message}`);
  }
}

const planFile = (folder: string) => join(folder, "compose.json");
