import { addressVariable, type Broker, type BrokerName, type NativePlan } from "./broker.ts";
import {
  attachCompose,
  composeRuns,
  endCompose,
  isCompose,
  killCompose,
  pullBroker,
  startComposeAgain,
  startComposeBroker,
} from "./compose-broker.ts";
import { dockerProblem } from "../machine/compose-engine.ts";
import { provide, type Tool } from "../machine/doctor.ts";
import { externalBroker } from "./external.ts";
import { planKafka, probeKafka } from "./kafka.ts";
import { hasKafkaJars, prepareKafka } from "./kafka/kafka-jars.ts";
import {
  attachNative,
  isNative,
  killNative,
  nativePid,
  runNative,
  runNativeAgain,
} from "./native.ts";
import { freshFolder } from "../host/lifeline.ts";
import { freePorts } from "../host/ports.ts";
import { planRabbitmq, probeRabbitmq } from "./rabbitmq.ts";
import { settings } from "@lab/evidence/settings";
import { readState } from "./state.ts";

/** The variable with the folder of the broker that `lab run` shares among its experiments. */
export const folderVariable = {
  rabbitmq: "LAB_RABBITMQ_FOLDER",
  kafka: "LAB_KAFKA_FOLDER",
} as const;

const KINDS = ["external", "compose", "native"] as const;

/**
 * A running broker: the one of `AMQP_URL` or `KAFKA_BROKERS`; else the one that `lab run` or `lab
 * up` has running; else a private one that ends with this process, unless the options say
 * otherwise: a container where Docker Compose is available, or else a process. `LAB_BROKERS` limits
 * the kinds. Throws with the commands to type when there is none.
 */
export async function startBroker(name: BrokerName, options: StartOptions = {}): Promise<Broker> {
  const address = externalAddress(name);
  if (address !== undefined) return externalBroker(name, address);
  return (await findShared(name)) ?? startOwn(name, options);
}

/** A private broker, to be killed or paused where the shared one is external. Ends with this process. */
export async function startOwn(name: BrokerName, options: StartOptions = {}): Promise<Broker> {
  if ((await ownKind(name)) === "compose") {
    return startComposeBroker(name, options, await lifelineOf(name, options));
  }
  // Slow preparations come first, before there is a folder that would have to be removed.
  await (name === "kafka" ? prepareKafka() : provide(["rabbitmq"]));
  const folder = options.dataIn ?? (await freshFolder(name));
  const lifeline = options.dataIn === undefined ? folder : await lifelineOf(name, options);
  return runNative(await planNative(name, folder, options), lifeline, probe);
}

/** Restarts the ended broker of that folder, on its data and ports. Throws when it doesn't start; the data stay. */
export async function startAgain(
  name: BrokerName,
  folder: string,
  options: { endsWithUs: boolean },
): Promise<Broker> {
  const lifeline = await lifelineOf(name, options);
  if (isCompose(folder)) return startComposeAgain(folder, lifeline);
  if (isNative(folder)) return runNativeAgain(folder, lifeline, probe);
  throw new Error(`${name}'s data aren't in ${folder} any more`);
}

/**
 * The lifeline's folder for a broker whose data are elsewhere; undefined when it is to outlive this
 * process.
 */
async function lifelineOf(
  name: BrokerName,
  { endsWithUs = false }: StartOptions,
): Promise<string | undefined> {
  return endsWithUs ? freshFolder(name) : undefined;
}

/** Options for a broker that has to be started. */
export interface StartOptions {
  /** An empty folder for its data, which are kept when it ends; the broker outlives this process, as `lab up` needs. */
  dataIn?: string;
  /** With `dataIn`: it still ends with this process. */
  endsWithUs?: boolean;
  /** The port of RabbitMQ's management page; a free one by default. */
  managementPort?: number;
}

/**
 * Makes sure that those brokers can be started, before other slow work: installs what is missing or
 * throws one error with all the commands to type. A running broker needs nothing. With
 * `proxiedKafka` also for `startProxiedKafka`, whose broker is always a process.
 */
export async function prepareBrokers(
  names: readonly BrokerName[],
  { proxiedKafka = false } = {},
): Promise<void> {
  const ofKafka: Tool[] = hasKafkaJars() ? ["java"] : ["java", "maven"];
  const tools: Tool[] = proxiedKafka ? [...ofKafka] : [];
  for (const name of names) {
    if (externalAddress(name) !== undefined || (await runsAlready(name))) continue;
    if ((await ownKind(name)) === "compose") continue;
    if (name === "rabbitmq") tools.push("rabbitmq");
    else tools.push(...ofKafka);
  }
  await provide(
    [...new Set(tools)],
    proxiedKafka ? "Kafka behind a proxy is a process everywhere, with Docker too." : undefined,
  );
  if (proxiedKafka) await prepareKafka();
}

/**
 * The address of a running broker, from the environment or `lab up`. Throws with what to type when
 * there is none.
 */
export async function addressOf(
  name: BrokerName,
): Promise<{ address: string; managementUrl?: string }> {
  const address = addressGiven(name);
  if (address) return { address };
  const up = (await readState()).brokers[name];
  if (up !== undefined && (up.kind === "external" || (await runsAlready(name)))) {
    return up;
  }
  const model = name === "rabbitmq" ? "async" : "stream";
  throw new Error(
    `${name} isn't up. Type: scripts/lab up ${model}   (or set ${addressVariable[name]})`,
  );
}

/** Whether the broker of that folder runs, whichever process has started it. */
export async function brokerRuns(folder: string): Promise<boolean> {
  return (await composeRuns(folder)) || (await nativePid(folder)) !== undefined;
}

/** SIGKILL for the broker of that folder, whichever process has started it; its data are kept. */
export async function killBroker(folder: string): Promise<boolean> {
  return isCompose(folder) ? killCompose(folder) : killNative(folder);
}

/** The running broker of that folder; undefined when it doesn't run. Throws when it runs and doesn't answer. */
export async function attachBroker(folder: string): Promise<Broker | undefined> {
  return (await attachCompose(folder)) ?? attachNative(folder, probe);
}

/** Whether that folder has a broker's data, whether it runs or not. */
export function hasBroker(folder: string): boolean {
  return isCompose(folder) || isNative(folder);
}

/**
 * Ends the broker of that folder, whichever process has started it, and removes its container with
 * the data; returns whether there was one.
 */
export async function endBroker(folder: string): Promise<boolean> {
  return (await endCompose(folder)) || killNative(folder);
}

async function runsAlready(name: BrokerName): Promise<boolean> {
  const up = (await readState()).brokers[name];
  return up?.folder !== undefined && (await brokerRuns(up.folder));
}

/** A running broker of the lab; undefined when there is none. */
async function findShared(name: BrokerName): Promise<Broker | undefined> {
  const { labKafkaFolder, labRabbitmqFolder } = settings();
  const passedOn = name === "rabbitmq" ? labRabbitmqFolder : labKafkaFolder;
  if (passedOn) return attachBroker(passedOn);
  const up = (await readState()).brokers[name];
  if (up?.folder === undefined || !allowedKinds().includes(up.kind)) return undefined;
  return attachBroker(up.folder);
}

/**
 * The address of an external broker, if one is to be used. Throws when one must be used, and none
 * is named.
 */
export function externalAddress(name: BrokerName): string | undefined {
  const kinds = allowedKinds();
  const address = addressGiven(name);
  if (!kinds.includes("external")) return undefined;
  if (address) return address;
  if (kinds.length > 1) return undefined;
  throw new Error(
    `LAB_BROKERS=external needs ${addressVariable[name]}, the address of a running ${name}`,
  );
}

function allowedKinds(): readonly Broker["kind"][] {
  const { labBrokers } = settings();
  return labBrokers === "" ? KINDS : KINDS.filter((kind) => labBrokers.split(",").includes(kind));
}

/** The address of an external broker; empty when there is none. */
function addressGiven(name: BrokerName): string {
  const { amqpUrl, kafkaBrokers } = settings();
  return name === "rabbitmq" ? amqpUrl : kafkaBrokers;
}

const chosen = new Map<BrokerName, Promise<"compose" | "native">>();

/**
 * Whether brokers that are started here are containers or processes; the same for the whole run.
 */
function ownKind(name: BrokerName): Promise<"compose" | "native"> {
  const known = chosen.get(name);
  if (known !== undefined) return known;
  const choosing = chooseKind(name);
  chosen.set(name, choosing);
  choosing.catch(() => chosen.delete(name));
  return choosing;
}

async function chooseKind(name: BrokerName): Promise<"compose" | "native"> {
  const kinds = allowedKinds();
  if (kinds.includes("native") && !kinds.includes("compose")) return "native";
  const forced = kinds.includes("compose") && !kinds.includes("native");
  const problem = dockerProblem();
  if (problem !== undefined) {
    if (!forced) return "native";
    throw new Error(`LAB_BROKERS=compose: ${problem}`);
  }
  try {
    await pullBroker(name);
    return "compose";
  } catch (error) {
    if (forced) throw error;
    // For example offline.
    const reason = (error as Error).message.split("\n").at(-1);
    process.stderr.write(`${name} will be a process, not a container: ${reason}\n`);
    return "native";
  }
}

async function planNative(
  name: BrokerName,
  folder: string,
  { dataIn, managementPort }: StartOptions,
): Promise<NativePlan> {
  const [client, second, third, advertised] = (await freePorts(4)) as [
    number,
    number,
    number,
    number,
  ];
  if (name === "rabbitmq") {
    const management = managementPort ?? second;
    return planRabbitmq(folder, { amqp: client, management, distribution: third });
  }
  // The broker of `lab up` can't get a listener later, when a person wants a bad line.
  const proxied = dataIn === undefined ? undefined : { listener: third, advertised };
  return planKafka(folder, { client, controller: second, proxied });
}

function probe(plan: NativePlan): Promise<Record<string, string>> {
  return plan.name === "rabbitmq"
    ? probeRabbitmq(plan.address, plan.managementUrl)
    : probeKafka(plan.address);
}
