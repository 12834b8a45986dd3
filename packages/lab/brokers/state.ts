import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { BrokerName, ProxiedListener } from "./broker.ts";
import type { Model } from "@lab/evidence/evidence";
import { labFolder } from "@lab/evidence/folders";
import { type Identity, runs } from "../host/process-id.ts";

/** A broker of `lab up`; for a native one its folder has more. */
export interface UpBroker {
  kind: "external" | "compose" | "native";
  address: string;
  managementUrl?: string;
  folder?: string;
  proxied?: ProxiedListener;
  versions: Record<string, string>;
  /** For a native broker, also stored in its folder. */
  process?: Identity;
  /** For a container: the Compose project, also stored in its folder. */
  project?: string;
  /** The `up --foreground` with which it ends. */
  owner?: Identity;
}

export interface UpService extends Identity {
  model: Model;
  name: string;
  url: string;
  database: string;
  log: string;
  /** The `up --foreground` with which it ends. */
  owner?: Identity;
}

/** What `lab up` has started and `lab down` will end, including what has ended by itself. */
export interface UpState {
  brokers: Partial<Record<BrokerName, UpBroker>>;
  services: UpService[];
}

const stateFile = join(labFolder, "state.json");
/** A second copy: deleting one of them must not make the lab lose track of what runs. */
const secondFile = join(labFolder, "up", "state.json");

/** What `lab up` has started. Throws when the file exists and can't be read. */
export async function readState(): Promise<UpState> {
  return read();
}

/** The broker of that name that `lab up` has started. Throws where there is none. */
export async function brokerThatIsUp(name: BrokerName): Promise<UpBroker> {
  const known = read().brokers[name];
  if (known === undefined) throw new Error(`${name} isn't up: scripts/lab up starts it`);
  return known;
}

/**
 * Changes the stored state, synchronously. An empty state removes the file. Call it only with the
 * lock of `withLock`.
 */
export function changeState(change: (state: UpState) => void): void {
  const state = read();
  change(state);
  const { brokers, services } = state;
  const isEmpty = services.length === 0 && Object.keys(brokers).length === 0;
  for (const file of [secondFile, stateFile]) {
    if (isEmpty) rmSync(file, { force: true });
    else write(file, state);
  }
}

function read(): UpState {
  let unreadable: string | undefined;
  for (const file of [stateFile, secondFile]) {
    try {
      const state = JSON.parse(readFileSync(file, "utf8")) as UpState | null;
      if (Array.isArray(state?.services) && state.brokers) return state;
      unreadable = `${file} isn't what the lab writes`;
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      if (code !== "ENOENT") unreadable = `${file} can't be read: ${message}`;
    }
  }
  if (unreadable === undefined) return { brokers: {}, services: [] };
  throw new Error(
    `${unreadable}\nDelete it, and end by hand what scripts/lab up has left running; the data in .lab/up stay`,
  );
}

function write(file: string, state: UpState): void {
  mkdirSync(dirname(file), { recursive: true });
  const half = `${file}.${process.pid}.half`;
  // Brokers' addresses contain passwords.
  writeFileSync(half, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(half, file);
}

/** Whether that process, and not a later one with the same id, still runs. */
export function serviceRuns(service: UpService): boolean {
  return runs(service);
}
