import { mkdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BrokerName } from "./brokers.ts";
import type { Model } from "./evidence.ts";
import { labFolder } from "./folders.ts";
import { startStamp } from "./process-id.ts";

/** A broker of `lab up`; of a native one there is more in its folder. */
export interface UpBroker {
  kind: "external" | "compose" | "native";
  address: string;
  managementUrl?: string;
  folder?: string;
  versions: Record<string, string>;
}

export interface UpService {
  model: Model;
  name: string;
  url: string;
  pid: number;
  /** Tells it from a later process with the same id; see `startStamp`. */
  stamp: string | undefined;
  database: string;
  log: string;
}

/** What `lab up` has started and `lab down` will end; of each, also what has ended by itself. */
export interface UpState {
  brokers: Partial<Record<BrokerName, UpBroker>>;
  services: UpService[];
}

const stateFile = join(labFolder, "state.json");

/** What `lab up` has started. Throws when the file isn't readable. */
export async function readState(): Promise<UpState> {
  try {
    return JSON.parse(await readFile(stateFile, "utf8")) as UpState;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return { brokers: {}, services: [] };
  }
}

// One change after the other, though several models start side by side.
let lastChange: Promise<void> = Promise.resolve();

/** Changes what is written down. Nothing at all removes the file. */
export function changeState(change: (state: UpState) => void): Promise<void> {
  lastChange = lastChange.catch(() => {}).then(() => rewrite(change));
  return lastChange;
}

async function rewrite(change: (state: UpState) => void): Promise<void> {
  const state = await readState();
  change(state);
  const { brokers, services } = state;
  if (services.length === 0 && Object.keys(brokers).length === 0) {
    await rm(stateFile, { force: true });
    return;
  }
  await mkdir(labFolder, { recursive: true });
  const half = `${stateFile}.${process.pid}.half`;
  // Brokers' addresses have passwords.
  await writeFile(half, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
  await rename(half, stateFile);
}

/** Whether that very process still runs. */
export function serviceRuns({ pid, stamp }: UpService): boolean {
  return stamp !== undefined && startStamp(pid) === stamp;
}
