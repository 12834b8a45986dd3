// What `up`, `down` and `status` share: the models that a person has started.
import { addressOf, type Broker, endBroker, prepareBrokers, startBroker } from "@lab/lab/brokers";
import { portVariable } from "@lab/lab/compose-services";
import type { Model } from "@lab/lab/evidence";
import { labFolder } from "@lab/lab/folders";
import { isFree } from "@lab/lab/ports";
import { startStamp } from "@lab/lab/process-id";
import { type Campus, SERVICES, startModel } from "@lab/lab/processes";
import { settings } from "@lab/lab/settings";
import { changeState, readState, serviceRuns, type UpService } from "@lab/lab/state";
import { eventually } from "@lab/lab/waiting";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { serviceSettings } from "./environment.ts";
import { brokerOf, MODELS } from "./models.ts";

const upFolder = join(labFolder, "up");
/** Where people expect RabbitMQ's management page. */
const MANAGEMENT_PORT = 15672;
/** A service gives up its own stop after 10 s. */
const STOP_TIMEOUT_MS = 12_000;

/** A model that this process has started. */
export interface Started {
  campus: Campus;
  broker: Broker | undefined;
}

/** The models all of whose services run. */
export function modelsUp(state: { services: UpService[] }): Model[] {
  return Object.values(MODELS)
    .map(({ model }) => model)
    .filter(
      (model) =>
        state.services.filter((one) => one.model === model && serviceRuns(one)).length ===
        SERVICES[model].length,
    );
}

/**
 * Makes ready for starting those models, before anything is started: ends what
 * an earlier start has left half running, and throws for a port in use or a
 * program that is missing.
 */
export async function prepare(names: readonly string[]): Promise<void> {
  const models = names.map((name) => MODELS[name]!.model);
  await takeDown(models);
  const taken: string[] = [];
  for (const name of names) {
    for (const [service, port] of Object.entries(portsOf(name))) {
      if (await isFree(port)) continue;
      taken.push(
        `port ${port} is in use, and ${service} of ${name} is to have it: stop what runs there, or set ${portVariable(service)}`,
      );
    }
  }
  if (taken.length > 0) throw new Error(taken.join("\n"));
  await prepareBrokers(models.flatMap((model) => brokerOf(model) ?? []));
}

/**
 * Starts a model and its broker on the fixed ports, with faults on and empty
 * databases; returns when it is healthy. With `lasting` it goes on after this
 * process has ended. Whatever happens, `takeDown` ends what was started.
 */
export async function start(name: string, lasting: boolean): Promise<Started> {
  const { model } = MODELS[name]!;
  const folder = await emptyFolder(model);
  const broker = await startItsBroker(model, lasting);
  const ports = portsOf(name);
  const env = await serviceSettings(model);
  const host = env["LISTEN_HOST"] ?? "127.0.0.1";
  const campus = await startModel(model, {
    folder,
    lasting,
    ports,
    env,
    ...(broker?.name === "rabbitmq" ? { amqpUrl: broker.address } : {}),
    ...(broker?.name === "kafka" ? { kafkaBrokers: broker.address } : {}),
    onSpawn: (service, pid) => {
      const started: UpService = {
        model,
        name: service,
        url: `http://${host}:${ports[service]}`,
        pid,
        stamp: startStamp(pid),
        database: join(folder, `${service}.sqlite`),
        log: join(folder, `${service}.log`),
      };
      void changeState(({ services }) => void services.push(started));
    },
  });
  return { campus, broker };
}

/**
 * Starts again what has ended of a model that is up, on its database and port,
 * with the settings of now; gives the names. An empty list when all of it runs,
 * undefined when none of it does, or its broker is gone: then it must be started anew.
 */
export async function revive(name: string): Promise<string[] | undefined> {
  const { model, broker } = MODELS[name]!;
  const ours = (await readState()).services.filter((one) => one.model === model);
  const ended = ours.filter((one) => !serviceRuns(one));
  if (ended.length === ours.length) return undefined;
  const address = broker && (await addressOf(broker).catch(() => undefined))?.address;
  if (broker !== undefined && address === undefined) return undefined;
  const services = ended.map((one) => one.name);
  if (services.length > 0) {
    await startModel(model, {
      folder: join(upFolder, model),
      lasting: true,
      services,
      ports: Object.fromEntries(ours.map((one) => [one.name, Number(new URL(one.url).port)])),
      env: await serviceSettings(model),
      ...(broker === "rabbitmq" ? { amqpUrl: address! } : {}),
      ...(broker === "kafka" ? { kafkaBrokers: address! } : {}),
      onSpawn: (service, pid) =>
        void changeState((state) => {
          const one = state.services.find((each) => each.model === model && each.name === service);
          if (one) Object.assign(one, { pid, stamp: startStamp(pid) });
        }),
    });
  }
  return services;
}

/** Ends those models and their brokers, and all that `up` has written down of them; gives what was ended. */
export async function takeDown(models: readonly Model[]): Promise<string[]> {
  const { brokers, services } = await readState();
  const ours = services.filter((one) => models.includes(one.model));
  const running = ours.filter(serviceRuns);
  for (const { pid } of running) {
    // A stopped process hears no SIGTERM.
    process.kill(pid, "SIGCONT");
    process.kill(pid, "SIGTERM");
  }
  await Promise.all(running.map(untilGone));
  const ended = running.map(({ model, name }) => `${model}/${name}`);
  const names = models.flatMap((model) => brokerOf(model) ?? []);
  for (const name of names) {
    const { kind, folder = join(upFolder, name) } = brokers[name] ?? {};
    if (await endBroker(folder)) ended.push(name);
    else if (kind === "external") ended.push(`${name} (left running)`);
  }
  await changeState((state) => {
    state.services = state.services.filter((one) => !models.includes(one.model));
    for (const name of names) delete state.brokers[name];
  });
  return ended;
}

async function untilGone(service: UpService): Promise<void> {
  try {
    await eventually(`${service.name} stops`, () => !serviceRuns(service), {
      timeoutMs: STOP_TIMEOUT_MS,
    });
  } catch {
    process.kill(service.pid, "SIGKILL");
    await eventually(`${service.name} ends`, () => !serviceRuns(service));
  }
}

async function startItsBroker(model: Model, lasting: boolean): Promise<Broker | undefined> {
  const name = brokerOf(model);
  if (name === undefined) return undefined;
  const broker = await startBroker(name, {
    ...(lasting ? { lastingIn: await emptyFolder(name) } : {}),
    ...((await isFree(MANAGEMENT_PORT)) ? { managementPort: MANAGEMENT_PORT } : {}),
  });
  const { address, folder, kind, managementUrl, versions } = broker;
  await changeState(({ brokers }) => {
    brokers[name] = {
      kind,
      address,
      ...(managementUrl === undefined ? {} : { managementUrl }),
      ...(folder === undefined ? {} : { folder }),
      versions,
    };
  });
  return broker;
}

async function emptyFolder(name: string): Promise<string> {
  const folder = join(upFolder, name);
  await rm(folder, { recursive: true, force: true });
  // A broker's password may stand in it.
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}

/** The fixed ports of a model's services, or those of the environment. */
function portsOf(name: string): Record<string, number> {
  const { analyticsPort, inventoryPort, notificationPort, orderPort } = settings();
  const chosen: Record<string, number | undefined> = {
    ORDER_PORT: orderPort,
    INVENTORY_PORT: inventoryPort,
    NOTIFICATION_PORT: notificationPort,
    ANALYTICS_PORT: analyticsPort,
  };
  return Object.fromEntries(
    Object.entries(MODELS[name]!.ports).map(([service, port]) => [
      service,
      chosen[portVariable(service)] ?? port,
    ]),
  );
}
