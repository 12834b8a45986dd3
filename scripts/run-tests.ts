import { type Broker, folderVariable, prepareBrokers, startBroker } from "@lab/lab/brokers";
import type { Model } from "@lab/lab/evidence";
import { repoFolder } from "@lab/lab/folders";
import { join } from "node:path";
import { bunTest, type Counts } from "./bun-test.ts";
import { unlessAborted } from "./interrupt.ts";
import { brokerOf, MODELS } from "./models.ts";
import { say } from "./say.ts";
import type { TestFile } from "./test-files.ts";

export interface TestResult extends Counts {
  file: TestFile;
}

/**
 * Runs the files one after the other, live, each in a process of its own, with
 * the evidence in that folder. All files of a model share one broker, which is
 * up only while they run: it would cost the other models' measurements. Throws
 * when the signal is aborted, with all taken down.
 */
export async function runTests(
  files: readonly TestFile[],
  runFolder: string,
  signal: AbortSignal,
): Promise<TestResult[]> {
  const models = Object.values(MODELS)
    .map(({ model }) => model)
    .filter((model) => files.some((file) => file.model === model));
  await unlessAborted(signal, prepareBrokers(models.flatMap((model) => brokerOf(model) ?? [])));
  const results: TestResult[] = [];
  for (const model of models) {
    const ofModel = files.filter((file) => file.model === model);
    const done = results.length;
    const title = (index: number) =>
      `${done + index + 1} of ${files.length}: ${model}/${ofModel[index]!.name}`;
    results.push(...(await runModel(model, ofModel, runFolder, signal, title)));
  }
  return results;
}

async function runModel(
  model: Model,
  files: readonly TestFile[],
  runFolder: string,
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
        LAB_RUN_DIR: runFolder,
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
