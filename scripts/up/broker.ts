// The broker of a model that a person starts.
import { addressVariable, type Broker, DATA_LOST } from "@lab/lab/brokers/broker";
import {
  attachBroker,
  externalAddress,
  hasBroker,
  startAgain,
  startBroker,
} from "@lab/lab/brokers/brokers";
import { projectOf } from "@lab/lab/brokers/compose-broker";
import { externalBroker } from "@lab/lab/brokers/external";
import { nativePid } from "@lab/lab/brokers/native";
import { isFree } from "@lab/lab/host/ports";
import { identityOf } from "@lab/lab/host/process-id";
import { changeState, readState } from "@lab/lab/brokers/state";
import { join } from "node:path";
import type { Start } from "./start.ts";
import { brokerOf } from "../models.ts";
import { emptyFolder, ownerIf, upFolder } from "./folders.ts";
import { portIn } from "./ports.ts";

/** The default port of RabbitMQ's management page. */
const MANAGEMENT_PORT = 15672;

/** The broker of a model that starts with empty databases: an external or a new one. */
export async function freshBroker(one: Start, foreground: boolean): Promise<Broker | undefined> {
  const name = brokerOf(one.model);
  if (name === undefined) return undefined;
  const ports = one.services.map(({ url }) => portIn(url));
  const isOurs = !ports.includes(MANAGEMENT_PORT) && (await isFree(MANAGEMENT_PORT));
  one.brokerFolder = await emptyFolder(name);
  const broker = await startBroker(name, {
    dataIn: one.brokerFolder,
    endsWithUs: foreground,
    ...(isOurs ? { managementPort: MANAGEMENT_PORT } : {}),
  });
  one.broker = broker;
  await writeDown(broker, foreground);
  return broker;
}

/** The broker that a model uses: running, or restarted. */
export async function brokerAgain(one: Start, foreground: boolean): Promise<Broker | undefined> {
  const name = brokerOf(one.model);
  if (name === undefined) return undefined;
  const known = (await readState()).brokers[name];
  const folder = known?.folder ?? join(upFolder, name);
  const ours = known?.kind !== "external" && hasBroker(folder);
  const external = externalAddress(name);
  if (external !== undefined && (ours || (known?.address ?? external) !== external)) {
    throw new Error(
      `${one.name} stands on another ${name} than ${addressVariable[name]} names: unset that, or type scripts/lab down`,
    );
  }
  if (!ours) {
    const address = external ?? (known?.kind === "external" ? known.address : undefined);
    if (address === undefined) {
      const why =
        known === undefined
          ? `isn't known any more: set ${addressVariable[name]} if it was somebody else's`
          : `has no data in ${folder} any more`;
      throw new Error(
        `the ${name} of ${one.name} ${why}; scripts/lab up ${one.name} --fresh begins anew`,
      );
    }
    const broker = await externalBroker(name, address);
    await writeDown(broker, foreground);
    return broker;
  }
  const running = await withFreshHint(one, attachBroker(folder));
  if (running !== undefined) {
    // Otherwise the process that started it was killed before it stored this.
    if (known === undefined) await writeDown(running, foreground);
    return running;
  }
  one.brokerFolder = folder;
  const broker = await withFreshHint(one, startAgain(name, folder, { endsWithUs: foreground }));
  one.broker = broker;
  await writeDown(broker, foreground);
  return broker;
}

/**
 * Adds to the error for lost data of a broker the command for a fresh start of its model only: the
 * others still have their data.
 */
export async function withFreshHint<T>({ name }: { name: string }, broker: Promise<T>): Promise<T> {
  try {
    return await broker;
  } catch (error) {
    const { code, message } = error as Error & { code?: unknown };
    if (code !== DATA_LOST) throw error;
    throw new Error(`${message}; scripts/lab up ${name} --fresh begins anew`, { cause: error });
  }
}

async function writeDown(broker: Broker, foreground: boolean): Promise<void> {
  const { address, folder, kind, managementUrl, name, proxied, versions } = broker;
  const project = projectOf(address)?.name;
  const pid = folder === undefined ? undefined : await nativePid(folder);
  changeState(({ brokers }) => {
    brokers[name] = {
      kind,
      address,
      ...(managementUrl === undefined ? {} : { managementUrl }),
      ...(folder === undefined ? {} : { folder }),
      ...(proxied && { proxied }),
      versions,
      ...(pid === undefined ? {} : { process: identityOf(pid) }),
      ...(project === undefined ? {} : { project }),
      ...ownerIf(foreground),
    };
  });
}
