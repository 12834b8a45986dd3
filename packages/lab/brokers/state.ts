import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { BrokerName } from "./broker.ts";
import type { Model } from "@lab/evidence/evidence";
import { labFolder } from "@lab/evidence/folders";
import { type Identity, runs } from "../host/process-id.ts";

/** A broker of `lab up`; of a native one there is more in its folder. */
export interface UpBroker {
  kind: "external" | "compose" | "native";
  address: string;
  managementUrl?: string;
  folder?: string;
  versions: Record<string, string>;
  /** Of a native one, as its folder says it too. */
  process?: Identity;
  /** Of a container: the Compose project, as its folder says it too. */
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

/** What `lab up` has started and `lab down` will end; of each, also what has ended by itself. */
export interface UpState {
  brokers: Partial<Record<BrokerName, UpBroker>>;
  services: UpService[];
}

const stateFile = join(labFolder, "state.json");
/** The same again: who deletes one of them must not lose sight of what runs. */
const secondFile = join(labFolder, "up", "state.json");

/** What `lab up` has started. Throws when it was written down and can't be read. */
export async function readState(): Promise<UpState> {
  return read();
}

/** Changes what is written down, at once. Nothing at all removes the file. Only for who holds the lock of `inTurn`. */
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
  // Brokers' addresses have passwords.
  writeFileSync(half, `${JSON.stringify(state, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(half, file);
}

/** Whether that very process still runs. */
export function serviceRuns(service: UpService): boolean {
  return runs(service);
}
