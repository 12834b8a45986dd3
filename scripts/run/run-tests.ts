import { folderVariable, prepareBrokers } from "@lab/lab/brokers/brokers";
import { sharedBroker, stopBrokers } from "@lab/lab/brokers/shared-brokers";
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

/** So many files at once. */
const LANES = 4;

/** Proofs that use a whole machine: services start all the time, or a flood comes. The first lane is for them. */
const BUSY = ["crash-points", "mutants", "stop", "overload"];

/** How the files are run. */
export interface RunOptions {
  /** Where the evidence goes. */
  runFolder: string;
  signal: AbortSignal;
  /** Whether experiments go beside other files: then their figures say nothing about speed. */
  experimentsBeside?: boolean;
  /** What a file's environment has beside ours. */
  envOf?: (file: TestFile) => Record<string, string>;
}

/**
 * Runs the files, each in a process of its own, live. Experiments go alone, model after model; the
 * others go several at once. The files of a model share a broker; one that hurts its broker starts
 * its own (`Run.ownBroker`). Throws when the signal is aborted, with all taken down, and at once
 * when something is missing or a proof is to go with services in containers.
 */
export async function runTests(
  files: readonly TestFile[],
  { runFolder, signal, experimentsBeside = false, envOf = () => ({}) }: RunOptions,
): Promise<TestResult[]> {
  if (files.some(({ isProof }) => isProof)) refuseContainers();
  const needed = modelsOf(files).flatMap((model) => brokerOf(model) ?? []);
  await unlessAborted(signal, prepareBrokers(needed, { proxiedKafka: files.some(proxiesKafka) }));
  let begun = 0;
  const plan: Plan = {
    env: (file) => ({ LAB_RUN_DIR: runFolder, ...servicesEnv(file), ...envOf(file) }),
    title: ({ model, name }) => `\n── ${(begun += 1)} of ${files.length}: ${model}/${name}`,
    signal,
  };
  const goesAlone = ({ isExperiment }: TestFile) => isExperiment && !experimentsBeside;
  const results: TestResult[] = [];
  for (const model of modelsOf(files)) {
    const own = files.filter((file) => file.model === model && goesAlone(file));
    // The model's broker is up only now: it would cost the other models' measurements.
    await using _ = { [Symbol.asyncDispose]: stopBrokers };
    for (const file of own) {
      results.push(await runFile(file, plan, say));
      signal.throwIfAborted();
    }
  }
  await using _ = { [Symbol.asyncDispose]: stopBrokers };
  const others = files.filter((file) => !goesAlone(file));
  return [...results, ...(await runAtOnce(others, plan))];
}

function modelsOf(files: readonly TestFile[]): Model[] {
  return Object.values(MODELS)
    .map(({ model }) => model)
    .filter((model) => files.some((file) => file.model === model));
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

/** The environment by which a file of that model finds the broker that all of them share. Throws when that doesn't start. */
async function brokerEnv(
  model: Model,
  onLine: (line: string) => void,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const name = brokerOf(model);
  if (name === undefined) return {};
  let isStarted = false;
  const starting = sharedBroker(name, () => {
    isStarted = true;
    onLine(`starting ${name} …`);
  });
  const { folder, kind, versions } = await unlessAborted(signal, starting);
  if (isStarted) {
    const all = Object.entries(versions).map((one) => one.join(" "));
    onLine(`${name} is up: ${kind}, ${all.join(", ")}`);
  }
  return folder === undefined ? {} : { [folderVariable[name]]: folder };
}

/** In lanes. An interrupted one comes to the end of what it has begun. */
async function runAtOnce(files: readonly TestFile[], plan: Plan): Promise<TestResult[]> {
  const { signal } = plan;
  const lines = new LiveLines();
  const isBusy = ({ isProof, name }: TestFile) => isProof && BUSY.includes(name);
  // The later models' take longest: they start first, beside the others' short files.
  const busy = files.filter(isBusy).toReversed();
  // A storm lasts as long as it is set: it must not be what the others wait for in the end.
  const left = files
    .filter((file) => !isBusy(file))
    .toSorted((a, b) => Number(isStorm(b)) - Number(isStorm(a)));
  const results: TestResult[] = [];
  await Promise.all(
    Array.from({ length: LANES }, async (_, lane) => {
      const [first, then] = lane === 0 ? [busy, left] : [left, busy];
      for (;;) {
        const file = first.shift() ?? then.shift();
        if (file === undefined || signal.aborted) return;
        const name = `${file.model}/${file.name}`;
        const onLine = (line: string) => lines.say(name, line);
        results.push(await runFile(file, plan, onLine, lines.env));
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
  more: Record<string, string> = {},
): Promise<TestResult> {
  onLine(title(file));
  let shared: Record<string, string>;
  try {
    shared = await brokerEnv(file.model, onLine, signal);
  } catch (error) {
    onLine((error as Error).message);
    return { file, passed: 0, failed: 1 };
  }
  const counts = await bunTest({
    files: [file.path],
    cwd: join(repoFolder, file.model),
    env: { ...more, ...shared, ...env(file) },
    onLine,
    signal,
  });
  return { file, ...counts };
}

function isStorm({ name }: TestFile): boolean {
  return name === "storm";
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
