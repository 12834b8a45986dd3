// What the shell's environment means to the lab and to the services that it starts.
import { Settings, settings } from "@lab/evidence/settings";
import { factsOf } from "@lab/lab/brokers/model-facts";
import type { Model } from "@lab/evidence/evidence";
import { repoFolder } from "@lab/evidence/folders";
import { readAsked, weavingOf } from "@lab/proof/weaving/asked";
import { ConfigError, readEnv, variableName } from "@lab/runtime/env";
import { join } from "node:path";
import { nearestWord } from "../command.ts";
import { say } from "../say.ts";
import { upFolder } from "./folders.ts";

type Schema = Parameters<typeof readEnv>[0];

const ours = namesIn(Settings);
/** Of services, and of the guards that the lab starts them with. */
const WOVEN = ["LAB_WITHOUT", "LAB_CRASH_AT"];
const ofServices = ["LAB_FAULTS", ...WOVEN, "LAB_LIFELINE"];
/** What `up` itself decides for a service. */
const DECIDED = [
  "PORT",
  "DATABASE",
  "INVENTORY_URL",
  "NOTIFICATION_URL",
  "AMQP_URL",
  "KAFKA_BROKERS",
];

/** Throws one ConfigError that lists every variable of the lab's that is wrong or misspelt. */
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
 * The variables of the shell that a model's services get from `up`: their own knobs, faults among them,
 * but for what `up` decides; nothing else that a shell may have. Throws a ConfigError that lists every
 * bad one.
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

/** Where a model's services are found, and its messages: its data are of no use elsewhere. */
const PLACE = ["LAB_NAMESPACE", "LISTEN_HOST"];
const placeFile = (model: Model) => join(upFolder, model, "place.json");

/** Writes down beside a model's new data what of its settings every later start on them needs. */
export async function notePlace(model: Model, given: Record<string, string>): Promise<void> {
  const place = Object.entries(given).filter(([name]) => PLACE.includes(name));
  await Bun.write(placeFile(model), JSON.stringify(Object.fromEntries(place)));
}

/** What `notePlace` wrote; undefined where there are no data, or those of an older lab. */
async function readPlace(model: Model): Promise<Record<string, string> | undefined> {
  const file = Bun.file(placeFile(model));
  return (await file.exists()) ? ((await file.json()) as Record<string, string>) : undefined;
}

/** Prefix of a model's queues, topics and groups: LAB_NAMESPACE, or that of `up`. */
export async function namespaceOf(model: Model): Promise<string> {
  return settings().labNamespace || (await readPlace(model))?.["LAB_NAMESPACE"] || "";
}

/** The same as `serviceSettings`, for a start on the data that are there. Throws where the shell names another place than theirs. */
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

/** What is wrong with the changes to the code of a model's services that the shell asks for. */
async function wrongWeaving(model: Model): Promise<string[]> {
  if (!WOVEN.some((name) => process.env[name])) return [];
  try {
    // `up` switches faults on, unless it is told otherwise.
    const LAB_FAULTS = process.env["LAB_FAULTS"]?.trim() || "on";
    readAsked({ ...process.env, LAB_FAULTS }, await weavingOf(model));
    return [];
  } catch (error) {
    return ["bad environment:", `  ${(error as Error).message}`];
  }
}

/** Says what those models' services get from the shell, and what they don't though it looks like theirs. Throws as `serviceSettings` does. */
export async function reportSettings(models: readonly Model[]): Promise<void> {
  const passed = Object.assign({}, ...(await Promise.all(models.map(serviceSettings)))) as Record<
    string,
    string
  >;
  const shown = Object.entries(passed).map((one) => one.join("="));
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

/** What to say of a name that is nearly one of those; undefined for one of them and for a stranger's. */
function slip(name: string, known: readonly string[]): string | undefined {
  if (known.includes(name)) return undefined;
  const nearest = nearestWord(
    name,
    known.map((one) => one.toLowerCase()),
  );
  return nearest && `${name} is no variable of the lab's: did you mean ${nearest.toUpperCase()}?`;
}
