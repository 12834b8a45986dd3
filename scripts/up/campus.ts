// What `up`, `down` and `status` share: the models that a person has started. All changes are made
// in `withUpLock`.
import { brokerRuns, endBroker, killBroker, prepareBrokers } from "@lab/lab/brokers/brokers";
import { endLostProject } from "@lab/lab/machine/compose";
import type { Model } from "@lab/evidence/evidence";
import { labFolder } from "@lab/evidence/folders";
import { fetchHealth, untilHealthy } from "@lab/lab/services/health";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { killGroup } from "@lab/lab/host/lifeline";
import { withLock } from "@lab/lab/host/lock";
import { type Identity, identityOf, isPaused, runs } from "@lab/lab/host/process-id";
import { startModel, STOP_TIMEOUT_MS } from "@lab/lab/services/processes";
import { changeState, readState, serviceRuns, type UpService } from "@lab/lab/brokers/state";
import { eventually } from "@lab/lab/host/waiting";
import { existsSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { notePlace, serviceSettings, settingsAgain } from "./environment.ts";
import { brokerOf, MODELS } from "../models.ts";
import { say } from "../say.ts";
import { brokerAgain, freshBroker } from "./broker.ts";
import { downMark, emptyFolder, ownerIf, upFolder } from "./folders.ts";
import type { Start, UpOptions } from "./start.ts";
import { portIn, refusePorts, urlOf } from "./ports.ts";

/** A service reconnects to its broker within 10 s. */
const HEALTHY_TIMEOUT_MS = 20_000;

/** Does a job that changes what is up, under a lock that all labs of this clone share. */
export function withUpLock<T>(job: () => Promise<T>, signal?: AbortSignal): Promise<T> {
  return withLock(
    join(labFolder, "up.lock"),
    {
      who: `scripts/lab ${process.argv.slice(2).join(" ")}`,
      onWait: (holder) => say(`waiting for ${holder} …`),
      ...(signal === undefined ? {} : { signal }),
    },
    job,
  );
}

/**
 * The models that are up, including those whose processes have ended by themselves or with their
 * `up --foreground`.
 */
export async function namesUp(): Promise<string[]> {
  const { services } = await readState();
  return Object.entries(MODELS)
    .filter(([, { model }]) => hasData(model) || services.some((one) => one.model === model))
    .map(([name]) => name);
}

/**
 * Determines what is to be started of those models, and prepares it, before anything is started.
 * Throws for a port in use, a missing program, and a running service that doesn't answer.
 */
export async function prepare(
  names: readonly string[],
  { foreground, fresh }: UpOptions,
): Promise<Start[]> {
  const up = await namesUp();
  const starts: Start[] = [];
  for (const name of names) {
    const { model } = MODELS[name]!;
    const again = !fresh && up.includes(name);
    if (again) await checkRunning(name, foreground);
    const services = await servicesOf(name);
    const missing = services.filter((one) => !again || !serviceRuns(one));
    const start: Start = {
      name,
      model,
      again,
      settings: await (again && missing.length > 0
        ? settingsAgain(name, model)
        : serviceSettings(model)),
      services,
      missing: missing.map((one) => one.name),
      started: [],
    };
    for (const one of missing) one.url = urlOf(start, one);
    starts.push(start);
  }
  const anew = starts.filter(({ again }) => !again).map(({ model }) => model);
  await takeDown(anew);
  await refusePorts(starts);
  await prepareBrokers(anew.flatMap((model) => brokerOf(model) ?? []));
  return starts;
}

/**
 * Starts the missing processes of a model, its broker first, with faults on; returns when all are
 * healthy. After a failure, `undo` ends what was started.
 */
export async function start(
  one: Start,
  { foreground }: UpOptions,
  signal: AbortSignal,
): Promise<void> {
  const { again, missing, model, name, services, settings } = one;
  if (!again) {
    announceFresh(name);
    await emptyFolder(model);
    await notePlace(model, settings);
  }
  const broker = again ? await brokerAgain(one, foreground) : await freshBroker(one, foreground);
  signal.throwIfAborted();
  for (const { database, name: service } of services) {
    // SQLite treats an empty file as a new database.
    if (!again || !missing.includes(service) || Bun.file(database).size > 0) continue;
    say(`${name}: there is nothing in ${database}: ${service} begins with an empty one`);
  }
  if (missing.length > 0) {
    const campus = await startModel(model, {
      folder: join(upFolder, model),
      lasting: !foreground,
      services: missing,
      ports: Object.fromEntries(services.map(({ name: service, url }) => [service, portIn(url)])),
      env: settings,
      broker,
      onSpawn: (service, pid) => {
        const started = services.find((each) => each.name === service)!;
        delete started.owner;
        Object.assign(started, identityOf(pid), ownerIf(foreground));
        changeState((state) => {
          state.services = state.services.filter(
            (each) => each.model !== model || each.name !== service,
          );
          state.services.push(started);
        });
      },
    });
    one.started = campus.services;
  }
  const others = services.filter((each) => !missing.includes(each.name));
  await Promise.all(others.map((each) => untilHealthy(each, HEALTHY_TIMEOUT_MS)));
  if (!again) return;
  if (one.brokerFolder !== undefined) say(`${name}: ${broker!.name} started again on its data`);
  if (missing.length > 0) say(`${name}: started again on its database: ${missing.join(", ")}`);
  if (one.brokerFolder === undefined && missing.length === 0) {
    say(`${name} is up already, with its settings as they were; scripts/lab down ends it`);
  }
}

/** Ends what was started; data from before are kept. */
export async function undo(one: Start): Promise<void> {
  await endStarted(one);
  if (!one.again) await takeDown([one.model]);
}

/** Ends what was started; all data are kept for the next `up`. */
export async function endStarted(one: Start): Promise<void> {
  const { broker, brokerFolder, missing, services } = one;
  await endServices(services.filter(({ name }) => missing.includes(name)));
  await broker?.stop();
  if (brokerFolder !== undefined) await killBroker(brokerFolder);
}

/**
 * The end of `up --foreground`. By then `down` may have ended its processes, and another broker may
 * have replaced its own. Data are kept.
 */
export async function endOwned(one: Start): Promise<void> {
  const us = identityOf(process.pid);
  const isOurs = ({ owner }: { owner?: Identity } = {}) => Bun.deepEquals(owner, us);
  const name = brokerOf(one.model);
  const { broker: _, brokerFolder: __, ...rest } = one;
  const keepsBroker = name !== undefined && isOurs((await readState()).brokers[name]);
  await endStarted(keepsBroker ? one : rest);
  changeState((state) => {
    state.services = state.services.filter((each) => each.model !== one.model || !isOurs(each));
    if (keepsBroker) delete state.brokers[name];
  });
}

/**
 * Ends those models and their brokers, so that the next `up` starts with empty databases, except of
 * those models whose data are `kept`; returns what was ended, and whether there are data.
 */
export async function takeDown(
  models: readonly Model[],
  kept: readonly Model[] = [],
): Promise<{ ended: string[]; data: boolean }> {
  const { brokers, services } = await readState();
  const ours = services.filter((one) => models.includes(one.model));
  const ended = (await endServices(ours)).map(({ model, name }) => `${model}/${name}`);
  const names = models.flatMap((model) => brokerOf(model) ?? []);
  for (const name of names) {
    const { folder = join(upFolder, name), kind, process: known, project } = brokers[name] ?? {};
    const ran = await endBroker(folder);
    // The folder of the running broker was deleted.
    const runsOn = known !== undefined && runs(known);
    if (runsOn) killGroup(known.pid);
    const wasLeft = !ran && project !== undefined && (await endLostProject(project));
    if (ran || runsOn || wasLeft) ended.push(name);
    else if (kind === "external") ended.push(`${name} (left running)`);
  }
  const marked = models.filter((model) => hasData(model) && !kept.includes(model));
  for (const model of marked) {
    await writeFile(downMark(model), "It was taken down: the next start deletes this folder.\n");
  }
  changeState((state) => {
    state.services = state.services.filter((one) => !models.includes(one.model));
    for (const name of names) delete state.brokers[name];
  });
  return { ended, data: marked.length > 0 };
}

/**
 * Ends the remains of a killed `up --foreground`; throws for a service that runs and doesn't
 * answer, or belongs to another process.
 */
async function checkRunning(name: string, foreground: boolean): Promise<void> {
  const { model } = MODELS[name]!;
  const { brokers, services } = await readState();
  const ours = services.filter((one) => one.model === model);
  const brokerName = brokerOf(model);
  const broker = brokerName && brokers[brokerName];
  const owner = [...ours, broker].find((one) => one?.owner !== undefined)?.owner;
  if (owner !== undefined && runs(owner)) {
    throw new Error(
      `${name} is up in the foreground of process ${owner.pid}: Ctrl-C there ends it`,
    );
  }
  await endServices(ours.filter((one) => one.owner !== undefined));
  const orphaned = broker?.owner === undefined ? undefined : broker.folder;
  if (orphaned !== undefined) {
    // Its lifeline normally ends it.
    const isGone = async () => !(await brokerRuns(orphaned));
    await eventually("it ends", isGone, { timeoutMs: 5_000 }).catch(() => killBroker(orphaned));
  }
  const running = ours.filter(serviceRuns);
  if (foreground && running.length > 0) {
    throw new Error(
      `${name} is up already: scripts/lab up ${name} starts again what has ended of it, scripts/lab down ends it`,
    );
  }
  await Promise.all(running.map(untilItAnswers));
}

/** Whether there are data of a model that wasn't taken down. */
export function hasData(model: Model): boolean {
  return existsSync(join(upFolder, model)) && !existsSync(downMark(model));
}

/** Prints what a fresh start deletes. */
function announceFresh(name: string): void {
  const { model } = MODELS[name]!;
  const broker = brokerOf(model);
  const folders = [model, ...(broker === undefined ? [] : [broker])]
    .map((each) => join(upFolder, each))
    .filter((folder) => existsSync(folder));
  if (folders.length === 0) return;
  say(`${name}: starts with empty databases; deletes ${folders.join(" and ")}`);
}

/** A model's services as stored; those that aren't stored, with default values. */
async function servicesOf(name: string): Promise<UpService[]> {
  const { model } = MODELS[name]!;
  const folder = join(upFolder, model);
  const known = (await readState()).services.filter((one) => one.model === model);
  return factsOf(model).services.map(
    (service) =>
      known.find((one) => one.name === service) ?? {
        model,
        name: service,
        url: "",
        pid: 0,
        stamp: undefined,
        database: join(folder, `${service}.sqlite`),
        log: join(folder, `${service}.log`),
      },
  );
}

async function endServices(services: UpService[]): Promise<UpService[]> {
  // A stopped process doesn't receive SIGTERM.
  const running = services.filter((one) => signal(one, "SIGCONT") && signal(one, "SIGTERM"));
  await Promise.all(running.map(untilGone));
  return running;
}

async function untilGone(service: UpService): Promise<void> {
  try {
    await eventually(`${service.name} stops`, () => !serviceRuns(service), {
      timeoutMs: STOP_TIMEOUT_MS,
    });
  } catch {
    signal(service, "SIGKILL");
    await eventually(`${service.name} ends`, () => !serviceRuns(service));
  }
}

/** Sends the signal, unless the process has ended; returns whether it was running. */
function signal(service: UpService, name: NodeJS.Signals): boolean {
  if (!serviceRuns(service)) return false;
  try {
    return process.kill(service.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
    return false;
  }
}

/** Also returns when the service has ended meanwhile: it may have been stopping. */
async function untilItAnswers(service: UpService): Promise<void> {
  const { name, pid, url } = service;
  const goOn = `kill -CONT ${pid} lets it go on`;
  const endIt = `kill -9 ${pid} ends it, and scripts/lab up starts it again`;
  if (isPaused(pid)) throw new Error(`${name} is paused: ${goOn}; ${endIt}`);
  const answers = async () => !serviceRuns(service) || (await fetchHealth(url));
  await eventually(`${name} answers`, answers, { timeoutMs: 10_000 }).catch(() => {
    throw new Error(`${name} is there, but doesn't answer at ${url}: ${endIt}`);
  });
}
