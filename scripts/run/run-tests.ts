import { type Broker } from "@lab/lab/brokers/broker";
import { folderVariable, prepareBrokers, startBroker } from "@lab/lab/brokers/brokers";
import { refuseContainers, servicesKind } from "@lab/lab/services/compose-services";
import type { Evidence, Model } from "@lab/evidence/evidence";
import { repoFolder } from "@lab/evidence/folders";
import { join } from "node:path";
import { bunTest, type Counts } from "./bun-test.ts";
import { unlessAborted } from "../interrupt.ts";
import { LiveLines } from "./live-lines.ts";
import { brokerOf, MODELS } from "../models.ts";
import { say } from "../say.ts";
import { holdsInContainers, proxiesKafka, type TestFile } from "./test-files.ts";

export interface TestResult extends Counts {
  file: TestFile;
}

/** Proofs that wait more than they work go so many at once. */
const AT_ONCE = 4;

/** Proofs that use a whole machine: services start all the time, in lanes of their own, or a flood comes. */
const BUSY = ["crash-points", "mutants", "stop", "overload"];

/**
 * Runs the files, each in a process of its own, live, with the evidence in that folder. What
 * measures or is busy goes alone, model after model; the other proofs go several at once, storms
 * first, since they last. `envOf` gives what a file's environment has beside ours. Throws when
 * the signal is aborted, with all taken down, and at once when something is missing or a proof is
 * to go with services in containers.
 */
export async function runTests(
  files: readonly TestFile[],
  runFolder: string,
  signal: AbortSignal,
  envOf: (file: TestFile) => Record<string, string> = () => ({}),
): Promise<TestResult[]> {
  const models = Object.values(MODELS)
    .map(({ model }) => model)
    .filter((model) => files.some((file) => file.model === model));
  if (files.some(({ isProof }) => isProof)) refuseContainers();
  const brokers = models.flatMap((model) => brokerOf(model) ?? []);
  const proxiedKafka = files.some(proxiesKafka);
  await unlessAborted(signal, prepareBrokers(brokers, { proxiedKafka }));
  let begun = 0;
  const plan: Plan = {
    env: (file) => ({ LAB_RUN_DIR: runFolder, ...servicesEnv(file), ...envOf(file) }),
    title: ({ model, name }) => `\n── ${(begun += 1)} of ${files.length}: ${model}/${name}`,
    signal,
  };
  const results: TestResult[] = [];
  for (const model of models) {
    const own = files.filter((file) => file.model === model && goesAlone(file));
    results.push(...(await runAlone(model, own, plan)));
  }
  const others = files.filter((file) => !goesAlone(file));
  return [...results, ...(await runAtOnce(others, plan))];
}

function goesAlone({ isProof, name }: TestFile): boolean {
  return !isProof || BUSY.includes(name);
}

interface Plan {
  env: (file: TestFile) => Record<string, string>;
  title: (file: TestFile) => string;
  signal: AbortSignal;
}

/** Where LAB_SERVICES wants containers: processes all the same for what doesn't hold in them. */
function servicesEnv(file: TestFile): Record<string, string> {
  if (servicesKind() === "native" || holdsInContainers(file)) return {};
  say(`${file.model}/${file.name} needs processes: its services run as such`);
  return { LAB_SERVICES: "native" };
}

/** One after the other. They share a broker, which is up only while they run: it would cost the other models' measurements. */
async function runAlone(
  model: Model,
  files: readonly TestFile[],
  plan: Plan,
): Promise<TestResult[]> {
  if (files.length === 0) return [];
  let broker: Broker | undefined;
  try {
    broker = await startItsBroker(model, plan.signal);
  } catch (error) {
    plan.signal.throwIfAborted();
    say(`${model}: ${(error as Error).message}`);
    return files.map((file) => ({ file, passed: 0, failed: 1 }));
  }
  await using _ = broker;
  const shared =
    broker?.folder === undefined ? {} : { [folderVariable[broker.name]]: broker.folder };
  const results: TestResult[] = [];
  for (const file of files) {
    results.push(await runFile(file, plan, say, shared));
    plan.signal.throwIfAborted();
  }
  return results;
}

/** Several at once, each with a broker of its own. */
async function runAtOnce(files: readonly TestFile[], plan: Plan): Promise<TestResult[]> {
  const { signal } = plan;
  const lines = new LiveLines();
  const left = files.toSorted((a, b) => Number(isStorm(b)) - Number(isStorm(a)));
  const results: TestResult[] = [];
  await Promise.all(
    Array.from({ length: AT_ONCE }, async () => {
      for (let file = left.shift(); file && !signal.aborted; file = left.shift()) {
        const name = `${file.model}/${file.name}`;
        results.push(await runFile(file, plan, (line) => lines.say(name, line), lines.env));
        lines.end(name);
      }
    }),
  );
  signal.throwIfAborted();
  return results.toSorted((a, b) => files.indexOf(a.file) - files.indexOf(b.file));
}

async function runFile(
  file: TestFile,
  { env, signal, title }: Plan,
  onLine: (line: string) => void,
  more: Record<string, string>,
): Promise<TestResult> {
  onLine(title(file));
  const counts = await bunTest({
    files: [file.path],
    cwd: join(repoFolder, file.model),
    env: { ...more, ...env(file) },
    onLine,
    signal,
  });
  return { file, ...counts };
}

function isStorm({ name }: TestFile): boolean {
  return name === "storm";
}

async function startItsBroker(model: Model, signal: AbortSignal): Promise<Broker | undefined> {
  const name = brokerOf(model);
  if (name === undefined) return undefined;
  say(`\nstarting ${name} …`);
  const broker = await unlessAborted(signal, startBroker(name));
  const versions = Object.entries(broker.versions).map((one) => one.join(" "));
  say(`${name} is up: ${broker.kind}, ${versions.join(", ")}`);
  return broker;
}

/** The sums of all of them. */
export function total(results: readonly Counts[]): Counts {
  return {
    passed: results.reduce((sum, one) => sum + one.passed, 0),
    failed: results.reduce((sum, one) => sum + one.failed, 0),
  };
}

/** Of why a file fell short; the rest is in its evidence. */
const MOST_LINES = 12;

/** Says what came of each file, and why one fell short, by its evidence in that folder; returns the sums. */
export async function sayResults(
  results: readonly TestResult[],
  runFolder: string,
): Promise<Counts> {
  console.log();
  for (const { failed, file } of results) {
    const word = failed === 0 ? "held" : "FELL SHORT";
    console.log(`${word.padEnd(10)}  ${file.model}/${file.name}`);
    if (failed === 0) continue;
    const failure = (await evidenceOf(runFolder, file))?.failure ?? "";
    const why = failure.split("\n").filter(Boolean);
    for (const line of why.slice(0, MOST_LINES)) console.log(`            ${line}`);
    if (why.length > MOST_LINES) console.log("            … more in its evidence");
  }
  return total(results);
}

/** What the file left of itself; undefined where it left nothing. */
export async function evidenceOf(runFolder: string, file: TestFile): Promise<Evidence | undefined> {
  const stored = Bun.file(join(runFolder, file.model, `${file.name}.json`));
  return (await stored.exists()) ? ((await stored.json()) as Evidence) : undefined;
}
