// What is done to processes: the same that a person does with `kill`, `curl` and `scripts/lab up`.
import type { Model } from "@lab/evidence/evidence";
import { attachBroker, brokerRuns, killBroker, startAgain } from "@lab/lab/brokers/brokers";
import { addressVariable, type Broker } from "@lab/lab/brokers/broker";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { changeState, readState, serviceRuns, type UpService } from "@lab/lab/brokers/state";
import { identityOf, isPaused, pauseProcess } from "@lab/lab/host/process-id";
import { eventually } from "@lab/lab/host/waiting";
import { modelEnv, startService, STOP_TIMEOUT_MS } from "@lab/lab/services/processes";
import { dirname } from "node:path";
import type { Lab } from "../contract/lab.ts";

export async function kill(service: UpService): Promise<void> {
  if (!serviceRuns(service)) return;
  process.kill(service.pid, "SIGKILL");
  await eventually(`${service.name} ends`, () => !serviceRuns(service), { everyMs: 10 });
}

export async function pause(service: UpService): Promise<void> {
  await pauseProcess(service.pid);
}

export function resume(service: UpService): void {
  if (serviceRuns(service) && isPaused(service.pid)) process.kill(service.pid, "SIGCONT");
}

/** SIGTERM, so that what it has in hand is finished; returns when it has ended. */
async function stop(service: UpService): Promise<void> {
  if (!serviceRuns(service)) return;
  resume(service);
  process.kill(service.pid, "SIGTERM");
  await eventually(`${service.name} stops`, () => !serviceRuns(service), {
    timeoutMs: STOP_TIMEOUT_MS,
  }).catch(() => kill(service));
}

/**
 * Starts those services of a model on their data, with `env` in addition; stops first what still
 * runs of them. Returns when they listen: they may still wait for their broker.
 */
export async function restart(
  lab: Lab,
  model: Model,
  names: readonly string[],
  env: Record<string, string> = {},
): Promise<void> {
  await lab.withUpLock(async () => {
    const { brokers, services } = await readState();
    const own = services.filter((one) => one.model === model);
    const chosen = own.filter(({ name }) => names.includes(name));
    await Promise.all(chosen.map(stop));
    const needed = factsOf(model).broker?.name;
    const address = needed && brokers[needed]?.address;
    const envOf = await modelEnv(model, {
      ports: Object.fromEntries(own.map(({ name, url }) => [name, Number(new URL(url).port)])),
      env: { ...(await lab.settingsOf(model)), ...env },
      broker: needed && address ? { name: needed, address } : undefined,
    });
    await Promise.all(
      chosen.map((service) =>
        startService({
          model,
          service: service.name,
          folder: dirname(service.database),
          lasting: true,
          // What was given here wins over the addresses that the model has by itself.
          env: { ...envOf(service.name), ...env },
          onSpawn: (pid) =>
            changeState((state) => {
              const known = state.services.find(
                (one) => one.model === model && one.name === service.name,
              );
              if (known !== undefined) Object.assign(known, identityOf(pid));
            }),
        }),
      ),
    );
  });
}

/** Brokers that were paused here: while they are, no other handle can be had. */
const paused = new Map<string, Broker>();

export async function breakBroker(
  model: Model,
  what: "kill" | "restart" | "pause" | "resume",
): Promise<void> {
  const name = factsOf(model).broker?.name;
  const known = name && (await readState()).brokers[name];
  if (name === undefined || known?.folder === undefined) {
    throw new Error(`the broker of ${model} isn't the lab's to break`);
  }
  const { folder } = known;
  switch (what) {
    case "kill":
      await killBroker(folder);
      paused.delete(folder);
      return;
    case "restart":
      if (paused.has(folder)) await breakBroker(model, "resume");
      await killBroker(folder);
      await startAgain(name, folder, { endsWithUs: false });
      return;
    case "pause": {
      const broker = await attachBroker(folder);
      if (broker === undefined) throw new Error(`${name} doesn't run`);
      await broker.pause();
      paused.set(folder, broker);
      return;
    }
    case "resume":
      await paused.get(folder)?.resume();
      paused.delete(folder);
  }
}

/** Lets a paused broker go on, and starts a dead one on its data. Nothing for one that isn't the lab's. */
export async function healBroker(model: Model): Promise<void> {
  const name = factsOf(model).broker?.name;
  const folder = name && (await readState()).brokers[name]?.folder;
  if (folder === undefined) return;
  if (paused.has(folder)) await breakBroker(model, "resume");
  if (!(await brokerRuns(folder))) await breakBroker(model, "restart");
}

/** The variable with the address of a model's broker. */
export function brokerVariable(model: Model): string | undefined {
  const name = factsOf(model).broker?.name;
  return name && addressVariable[name];
}
