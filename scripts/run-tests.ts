import { type Broker, folderVariable, prepareBrokers, startBroker } from "@lab/lab/brokers";
import { refuseContainers, servicesKind } from "@lab/lab/compose-services";
import type { Evidence, Model } from "@lab/lab/evidence";
import { repoFolder } from "@lab/lab/folders";
import { join } from "node:path";
import { bunTest, type Counts } from "./bun-test.ts";
import { unlessAborted } from "./interrupt.ts";
import { LiveLines } from "./live-lines.ts";
import { brokerOf, MODELS } from "./models.ts";
import { say } from "./say.ts";
import { holdsInContainers, proxiesKafka, type TestFile } from "./test-files.ts";

export interface TestResult extends Counts {
  file: TestFile;
}

/**
 * Runs the files, each in a process of its own, live, with the evidence in that folder: what
 * measures alone, then the proofs, which wait more than they work, the models side by side. The
 * files of a model share a broker, which is up only while they run: it would cost the other
 * models' measurements. `envOf` gives what a file's environment has beside ours. Throws when the
 * signal is aborted, with all taken down, and at once when something is missing or a proof is to
 * go with services in containers.
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
  const proofs = files.filter(({ isProof }) => isProof);
  if (proofs.length > 0) refuseContainers();
  const brokers = models.flatMap((model) => brokerOf(model) ?? []);
  const proxiedKafka = files.some(proxiesKafka);
  await unlessAborted(signal, prepareBrokers(brokers, { proxiedKafka }));
  const env = (file: TestFile) => ({
    LAB_RUN_DIR: runFolder,
    ...servicesEnv(file),
    ...envOf(file),
  });
  const lines = new LiveLines();
  let begun = 0;
  const manner: Omit<Manner, "say"> = {
    env: (file) => ({ ...lines.env, ...env(file) }),
    title: ({ model, name }) => `${(begun += 1)} of ${files.length}: ${model}/${name}`,
    signal,
  };
  const results: TestResult[] = [];
  for (const model of models) {
    const others = files.filter((file) => file.model === model && !file.isProof);
    results.push(...(await runModel(model, others, { ...manner, say })));
  }
  const proven = await Promise.all(
    models.map((model) =>
      runModel(
        model,
        proofs.filter((file) => file.model === model),
        { ...manner, say: (line) => lines.say(model, line) },
      ),
    ),
  );
  signal.throwIfAborted();
  return [...results, ...proven.flat()];
}

/** Where LAB_SERVICES wants containers: processes all the same for what doesn't hold in them. */
function servicesEnv(file: TestFile): Record<string, string> {
  if (servicesKind() === "native" || holdsInContainers(file)) return {};
  say(`${file.model}/${file.name} needs processes: its services run as such`);
  return { LAB_SERVICES: "native" };
}

interface Manner {
  env: (file: TestFile) => Record<string, string>;
  say: (line: string) => void;
  title: (file: TestFile) => string;
  signal: AbortSignal;
}

/** Runs a model's files one after the other; none after an abort. */
async function runModel(
  model: Model,
  files: readonly TestFile[],
  { env, say, signal, title }: Manner,
): Promise<TestResult[]> {
  if (files.length === 0 || signal.aborted) return [];
  let broker: Broker | undefined;
  try {
    if (!files.every(hasOwnBroker)) broker = await startItsBroker(model, say, signal);
  } catch (error) {
    if (!signal.aborted) say(`${model}: ${(error as Error).message}`);
    return files.map((file) => ({ file, passed: 0, failed: 1 }));
  }
  await using _ = broker;
  const results: TestResult[] = [];
  for (const file of files) {
    if (signal.aborted) break;
    say(`\n── ${title(file)}`);
    const counts = await bunTest({
      files: [file.path],
      cwd: join(repoFolder, model),
      env: {
        ...env(file),
        ...(broker?.folder === undefined ? {} : { [folderVariable[broker.name]]: broker.folder }),
      },
      onLine: say,
      signal,
    });
    results.push({ file, ...counts });
  }
  return results;
}

/** A storm may last, and its broker is there to be killed. */
function hasOwnBroker({ isProof, name }: TestFile): boolean {
  return isProof && name === "storm";
}

async function startItsBroker(
  model: Model,
  say: Manner["say"],
  signal: AbortSignal,
): Promise<Broker | undefined> {
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
    for (const line of failure.split("\n").filter(Boolean)) console.log(`            ${line}`);
  }
  return total(results);
}

/** What the file left of itself; undefined where it left nothing. */
export async function evidenceOf(runFolder: string, file: TestFile): Promise<Evidence | undefined> {
  const stored = Bun.file(join(runFolder, file.model, `${file.name}.json`));
  return (await stored.exists()) ? ((await stored.json()) as Evidence) : undefined;
}
