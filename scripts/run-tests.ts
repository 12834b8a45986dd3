import { type Broker, folderVariable, prepareBrokers, startBroker } from "@lab/lab/brokers";
import { refuseContainers, servicesKind } from "@lab/lab/compose-services";
import type { Model } from "@lab/lab/evidence";
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
 * Runs the files one after the other, live, each in a process of its own, with
 * the evidence in that folder. All files of a model share one broker, which is
 * up only while they run: it would cost the other models' measurements. Storms
 * come last, side by side. `envOf` gives what a file's environment has beside
 * ours. Throws when the signal is aborted, with all taken down, and at once when something is
 * missing or a proof is to go with services in containers.
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
  const env = (file: TestFile) => ({
    LAB_RUN_DIR: runFolder,
    ...servicesEnv(file),
    ...envOf(file),
  });
  const storms = files.filter(isStorm);
  const results: TestResult[] = [];
  for (const model of models) {
    const ofModel = files.filter((file) => file.model === model && !isStorm(file));
    if (ofModel.length === 0) continue;
    const done = results.length;
    const title = (index: number) =>
      `${done + index + 1} of ${files.length}: ${model}/${ofModel[index]!.name}`;
    results.push(...(await runModel(model, ofModel, env, signal, title)));
  }
  return [...results, ...(await runStorms(storms, env, signal))];
}

/** Where LAB_SERVICES wants containers: processes all the same for what doesn't hold in them. */
function servicesEnv(file: TestFile): Record<string, string> {
  if (servicesKind() === "native" || holdsInContainers(file)) return {};
  say(`${file.model}/${file.name} needs processes: its services run as such`);
  return { LAB_SERVICES: "native" };
}

function isStorm({ isProof, name }: TestFile): boolean {
  return isProof && name === "storm";
}

/** They take minutes and measure nothing. Each has a broker of its own, to be killed. */
async function runStorms(
  files: readonly TestFile[],
  envOf: (file: TestFile) => Record<string, string>,
  signal: AbortSignal,
): Promise<TestResult[]> {
  if (files.length === 0) return [];
  say(`\n── side by side: ${files.map(({ model, name }) => `${model}/${name}`).join(", ")}`);
  const lines = new LiveLines();
  const results = await Promise.all(
    files.map(async (file) => {
      const counts = await bunTest({
        files: [file.path],
        cwd: join(repoFolder, file.model),
        env: { ...lines.env, ...envOf(file) },
        onLine: (line) => lines.say(file.model, line),
        signal,
      });
      return { file, ...counts };
    }),
  );
  signal.throwIfAborted();
  return results;
}

async function runModel(
  model: Model,
  files: readonly TestFile[],
  envOf: (file: TestFile) => Record<string, string>,
  signal: AbortSignal,
  title: (index: number) => string,
): Promise<TestResult[]> {
  let broker: Broker | undefined;
  try {
    broker = await startItsBroker(model, signal);
  } catch (error) {
    signal.throwIfAborted();
    say(`${model}: ${(error as Error).message}`);
    return files.map((file) => ({ file, passed: 0, failed: 1 }));
  }
  await using _ = broker;
  const results: TestResult[] = [];
  for (const [index, file] of files.entries()) {
    say(`\n── ${title(index)}`);
    const counts = await bunTest({
      files: [file.path],
      cwd: join(repoFolder, model),
      env: {
        ...envOf(file),
        ...(broker?.folder === undefined ? {} : { [folderVariable[broker.name]]: broker.folder }),
      },
      onLine: say,
      signal,
    });
    signal.throwIfAborted();
    results.push({ file, ...counts });
  }
  return results;
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

/** Says what came of each file; returns the sums. */
export function sayResults(results: readonly TestResult[]): Counts {
  console.log();
  for (const { failed, file } of results) {
    const word = failed === 0 ? "held" : "FELL SHORT";
    console.log(`${word.padEnd(10)}  ${file.model}/${file.name}`);
  }
  return total(results);
}
