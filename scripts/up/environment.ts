// How the lab and the services that it starts use the shell's environment.
import { Settings, settings } from "@lab/evidence/settings";
import { factsOf } from "@lab/lab/brokers/model-facts";
import type { Model } from "@lab/evidence/evidence";
import { repoFolder } from "@lab/evidence/folders";
import { readWeavingEnv, weavingOf } from "@lab/proof/weaving/weaving-env";
import { ConfigError, readEnv, variableName } from "@lab/runtime/env";
import { join } from "node:path";
import { nearestWord } from "../command.ts";
import { say } from "../say.ts";
import { upFolder } from "./folders.ts";

type Schema = Parameters<typeof readEnv>[0];

const ours = namesIn(Settings);
/** Read by the preload that changes the services' code. */
const WOVEN = ["LAB_WITHOUT", "LAB_CRASH_AT"];
const ofServices = ["LAB_FAULTS", ...WOVEN, "LAB_LIFELINE"];
/** Variables that `up` itself sets for a service. */
const DECIDED = [
  "PORT",
  "DATABASE",
  "INVENTORY_URL",
  "NOTIFICATION_URL",
  "AMQP_URL",
  "KAFKA_BROKERS",
];

/** Throws one ConfigError that lists every variable of the lab that is wrong or misspelt. */
export function checkEnvironment(): void {
  const misspelt = Object.keys(process.env).flatMap((name) =>
    name.startsWith("LAB_") ? (slip(name, [...ours, ...ofServices]) ?? []) : [],
  );
  let wrong = "";
  try {
    settings();
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error;
    wrong = error.message;
  }
  if (misspelt.length === 0 && wrong === "") return;
  throw new ConfigError(
    [wrong || "bad environment:", ...misspelt.map((line) => `  ${line}`)].join("\n"),
  );
}

/**
 * The shell's variables that `up` passes to a model's services: their own settings, including
 * faults, except those that `up` sets itself; nothing else. Throws a ConfigError that lists every
 * invalid one.
 */
export async function serviceSettings(model: Model): Promise<Record<string, string>> {
  const given = Object.entries(process.env).filter(([name]) => !DECIDED.includes(name));
  const configs = await configsOf(model);
  const wrong = configs.flatMap((Config) => {
    try {
      readEnv(Config, Object.fromEntries(given));
      return [];
    } catch (error) {
      if (error instanceof ConfigError) return error.message.split("\n");
      throw error;
    }
  });
  wrong.push(...(await wrongWeaving(model)));
  if (wrong.length > 0) throw new ConfigError([...new Set(wrong)].join("\n"));
  const knobs = [...configs.flatMap(namesIn), ...WOVEN];
  return Object.fromEntries(
    given.flatMap(([name, value]) => (knobs.includes(name) && value ? [[name, value]] : [])),
  );
}

/** The shell's own variables: a command sets some more itself. */
const IN_SHELL = new Set(Object.keys(process.env));

/**
 * The variables that locate a model's services and its messages: its data can only be used with the
 * same values.
 */
const PLACE = ["LAB_NAMESPACE", "LISTEN_HOST"];
const placeFile = (model: Model) => join(upFolder, model, "place.json");

/** Stores with a model's new data the settings that every later start on them needs. */
export async function notePlace(model: Model, given: Record<string, string>): Promise<void> {
  const place = Object.entries(given).filter(([name]) => PLACE.includes(name));
  await Bun.write(placeFile(model), JSON.stringify(Object.fromEntries(place)));
}

/** What `notePlace` stored; undefined where there are no data, or those of an older lab. */
async function readPlace(model: Model): Promise<Record<string, string> | undefined> {
  const file = Bun.file(placeFile(model));
  return (await file.exists()) ? ((await file.json()) as Record<string, string>) : undefined;
}

/** Prefix of a model's queues, topics and groups: LAB_NAMESPACE, or that of `up`. */
export async function namespaceOf(model: Model): Promise<string> {
  return settings().labNamespace || (await readPlace(model))?.["LAB_NAMESPACE"] || "";
}

/** The same as `serviceSettings`, for a start on existing data. Throws where the shell's values differ from the stored ones. */
export async function settingsAgain(name: string, model: Model): Promise<Record<string, string>> {
  const given = await serviceSettings(model);
  const place = await readPlace(model);
  if (place === undefined) return given;
  for (const variable of PLACE.filter((one) => given[one])) {
    if (given[variable] === place[variable]) continue;
    const was = place[variable] === undefined ? "without it" : `with ${place[variable]}`;
    throw new Error(
      `${variable}=${given[variable]}, and ${name} was started ${was}: unset that, or type scripts/lab down`,
    );
  }
  return { ...given, ...place };
}

/**
 * What is wrong with the shell's LAB_WITHOUT and LAB_CRASH_AT, which change the code of a model's
 * services.
 */
async function wrongWeaving(model: Model): Promise<string[]> {
  if (!WOVEN.some((name) => process.env[name])) return [];
  try {
    // `up` switches faults on by default.
    const LAB_FAULTS = process.env["LAB_FAULTS"]?.trim() || "on";
    readWeavingEnv({ ...process.env, LAB_FAULTS }, await weavingOf(model));
    return [];
  } catch (error) {
    return ["bad environment:", `  ${(error as Error).message}`];
  }
}

/** Prints the variables that those models' services get from the shell, and probably misspelt ones that they don't get. Throws as `serviceSettings` does. */
export async function reportSettings(models: readonly Model[]): Promise<void> {
  const passed = Object.assign({}, ...(await Promise.all(models.map(serviceSettings)))) as Record<
    string,
    string
  >;
  const shown = Object.entries(passed)
    .filter(([name]) => IN_SHELL.has(name))
    .map((one) => one.join("="));
  if (shown.length > 0) say(`from this shell: ${shown.join(", ")}`);
  const knobs = (await Promise.all(models.map(configsOf))).flat().flatMap(namesIn);
  const roles = /^(ORDER|INVENTORY|NOTIFICATION|ANALYTICS)_/;
  for (const name of Object.keys(process.env).filter((one) => roles.test(one))) {
    const line = slip(name, [...knobs, ...DECIDED, ...ours]);
    if (line !== undefined) say(line);
  }
}

async function configsOf(model: Model): Promise<Schema[]> {
  const files = factsOf(model).services.map((service) => join(repoFolder, model, `${service}.ts`));
  const modules = await Promise.all(files.map((file) => import(file)));
  return modules.map(({ Config }: { Config: Schema }) => Config);
}

function namesIn(schema: Schema): string[] {
  return Object.keys(schema.properties).map(variableName);
}

/**
 * The message for a name that is nearly one of those; undefined for one of them and for an
 * unrelated name.
 */
function slip(name: string, known: readonly string[]): string | undefined {
  if (known.includes(name)) return undefined;
  const nearest = nearestWord(
    name,
    known.map((one) => one.toLowerCase()),
  );
  return nearest && `${name} is no variable of the lab's: did you mean ${nearest.toUpperCase()}?`;
}
