// What `up`, `down` and `status` share: the models that a person has started.
import {
  type Broker,
  type BrokerName,
  prepareBrokers,
  startBroker,
  startLastingBroker,
} from "@lab/lab/brokers";
import type { Model } from "@lab/lab/evidence";
import { labFolder } from "@lab/lab/folders";
import { killNative, nativePid } from "@lab/lab/native";
import { isFree } from "@lab/lab/ports";
import { startStamp } from "@lab/lab/process-id";
import { type Campus, startModel } from "@lab/lab/processes";
import {
  changeState,
  readState,
  serviceRuns,
  type UpService,
  type UpState,
} from "@lab/lab/state";
import { eventually } from "@lab/lab/waiting";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { brokerOf, MODELS } from "./models.ts";

const upFolder = join(labFolder, "up");
/** Where people expect RabbitMQ's management page. */
const managementPort = 15672;
/** A service gives up its own stop after 10 s. */
const stopTimeoutMs = 12_000;

export interface StartOptions {
  /** Goes on after this process has ended. */
  lasting: boolean;
}

/** A model that this process has started. */
export interface Started {
  campus: Campus;
  /** Undefined when there is none, or when it ran before. */
  broker: Broker | undefined;
}

/**
 * Says what stands in the way of starting those models, before anything is
 * started: throws for a port in use or a program that is missing. What is left
 * of an earlier start that has half ended is ended here.
 */
export async function prepare(names: readonly string[]): Promise<void> {
  const models = names.map((name) => MODELS[name]!.model);
  await takeDown(models);
  const taken: string[] = [];
  for (const name of names) {
    for (const [service, port] of Object.entries(portsOf(name))) {
      if (await isFree(port)) continue;
      taken.push(
        `port ${port} is in use: ${service} of ${name} can't have it. Stop what runs there, or set ${portVariable(service)}`,
      );
    }
  }
  if (taken.length > 0) throw new Error(taken.join("\n"));
  await prepareBrokers(models.flatMap((model) => brokerOf(model) ?? []));
}

/** Whether all services of the model run. */
export async function isUp(name: string): Promise<boolean> {
  const { model, ports } = MODELS[name]!;
  const { services } = await readState();
  const running = services.filter(
    (one) => one.model === model && serviceRuns(one),
  );
  return running.length === Object.keys(ports).length;
}

/** Starts a model with its broker on the fixed ports, faults on, with an empty database; returns when it is healthy. */
export async function start(
  name: string,
  { lasting }: StartOptions,
): Promise<Started> {
  const { model } = MODELS[name]!;
  const folder = join(upFolder, model);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  const brokerName = brokerOf(model);
  const broker = brokerName && (await startItsBroker(brokerName, lasting));
  const ports = portsOf(name);
  const campus = await startModel(model, {
    folder,
    detached: lasting,
    ports,
    env: knobs(),
    ...(brokerName === "rabbitmq" ? { amqpUrl: broker!.address } : {}),
    ...(brokerName === "kafka" ? { kafkaBrokers: broker!.address } : {}),
    onSpawn: (service, pid) => {
      void note({
        model,
        name: service,
        url: `http://${process.env["HOST"] || "127.0.0.1"}:${ports[service]}`,
        pid,
        stamp: startStamp(pid),
        database: join(folder, `${service}.sqlite`),
        log: join(folder, `${service}.log`),
      });
    },
  });
  return { campus, broker };
}

async function startItsBroker(
  name: BrokerName,
  lasting: boolean,
): Promise<Broker> {
  const external = process.env["LAB_BROKERS"] === "external";
  const ours = !external && lasting && !process.env[variable(name)];
  if (!ours) {
    const broker = await startBroker(name);
    await noteBroker(broker);
    return broker;
  }
  const folder = join(upFolder, name);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  // Written down before it starts, so that `down` finds it whatever happens meanwhile.
  await changeState(({ brokers }) => {
    brokers[name] = { kind: "native", folder, address: "" };
  });
  const management = (await isFree(managementPort))
    ? managementPort
    : undefined;
  const broker = await startLastingBroker(name, folder, { management });
  await noteBroker(broker);
  return broker;
}
