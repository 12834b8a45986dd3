import { folderVariable, prepareBrokers } from "@lab/lab/brokers/brokers";
import { sharedBroker, stopBrokers } from "@lab/lab/brokers/shared-brokers";
import { refuseContainers, servicesKind } from "@lab/lab/services/compose-services";
import type { Evidence, Model } from "@lab/evidence/evidence";
import type { ExperimentName } from "@lab/evidence/figures";
import { textTable } from "@lab/lab/host/text-table";
import { Figures } from "@lab/report/text/figure-reader";
import { headlines } from "@lab/report/text/headlines";
import { printable } from "@lab/runtime/printable";
import { repoFolder } from "@lab/evidence/folders";
import { join } from "node:path";
import { Board } from "./board.ts";
import { bunTest, type Counts } from "./bun-test.ts";
import { unlessAborted } from "../interrupt.ts";
import { brokerOf, MODELS } from "../models.ts";
import { say } from "../say.ts";
import { paintResult } from "./paint.ts";
import { holdsInContainers, proxiesKafka, type TestFile } from "./test-files.ts";
import { publishedS, TimeLeft } from "./time-left.ts";

export interface TestResult extends Counts {
  file: TestFile;
  seconds: number;
}

/** So many files at once. */
const LANES = 5;

/**
 * Proofs in which services start all the time, or a flood comes. Those that share a broker go one
 * after the other: two at once can keep it from answering for seconds, and its clients then
 * reconnect and publish again, which others count as a fault.
 */
const BUSY = ["crash-points", "mutants", "stop", "overload"];

/** How the files are run. */
export interface RunOptions {
  /** Where the evidence goes. */
  runFolder: string;
  signal: AbortSignal;
  /** Whether experiments go beside other files: then their figures say nothing about speed. */
  experimentsBeside?: boolean;
  /** What goes beside the first files, and takes the place of one until it has ended. */
  beside?: Promise<unknown>;
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
  { runFolder, signal, experimentsBeside = false, beside, envOf = () => ({}) }: RunOptions,
): Promise<TestResult[]> {
  if (files.some(({ isProof }) => isProof)) refuseContainers();
  await unlessAborted(signal, prepareFor(files));
  let begun = 0;
  const goesAlone = ({ isExperiment }: TestFile) => isExperiment && !experimentsBeside;
  const timeLeft = new TimeLeft(files.filter(goesAlone));
  const isOnlyAlone = files.every(goesAlone);
  const board = new Board(() => (isOnlyAlone ? timeLeft.seconds() : undefined));
  const plan: Plan = {
    env: (file) => ({ LAB_RUN_DIR: runFolder, ...servicesEnv(file), ...envOf(file), ...board.env }),
    title: () => `${(begun += 1)} of ${files.length}`,
    signal,
    board,
    timeLeft,
  };
  const results: TestResult[] = [];
  for (const model of modelsOf(files)) {
    const own = files.filter((file) => file.model === model && goesAlone(file));
    // The model's broker is up only now: it would cost the other models' measurements.
    await using _ = { [Symbol.asyncDispose]: stopBrokers };
    for (const file of own) {
      results.push(await runFile(file, plan));
      signal.throwIfAborted();
    }
  }
  await using _ = { [Symbol.asyncDispose]: stopBrokers };
  const others = files.filter((file) => !goesAlone(file));
  return [...results, ...(await runAtOnce(others, plan, beside))];
}

/** Makes sure that the brokers of those files can be started. Throws as `prepareBrokers` does. */
export function prepareFor(files: readonly TestFile[]): Promise<void> {
  const needed = modelsOf(files).flatMap((model) => brokerOf(model) ?? []);
  return prepareBrokers(needed, { proxiedKafka: files.some(proxiesKafka) });
}

function modelsOf(files: readonly TestFile[]): Model[] {
  return Object.values(MODELS)
    .map(({ model }) => model)
    .filter((model) => files.some((file) => file.model === model));
}

interface Plan {
  env: (file: TestFile) => Record<string, string>;
  title: () => string;
  signal: AbortSignal;
  board: Board;
  timeLeft: TimeLeft;
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

/**
 * In lanes; the first is for the busy ones, the last begins when `beside` has ended. An interrupted
 * one comes to the end of what it has begun.
 */
async function runAtOnce(
  files: readonly TestFile[],
  plan: Plan,
  beside?: Promise<unknown>,
): Promise<TestResult[]> {
  const { signal } = plan;
  const isBusy = ({ isProof, model, name }: TestFile) =>
    isProof && BUSY.includes(name) && brokerOf(model) !== undefined;
  // The later models' take longest: they start first, beside the others' short files.
  const busy = [...Map.groupBy(files.filter(isBusy), ({ model }) => model).values()].toReversed();
  // The longest first: none is left that the others would wait for in the end.
  const left = files
    .filter((file) => !isBusy(file))
    .toSorted((a, b) => secondsOf(b) - secondsOf(a))
    .map((file) => [file]);
  const results: TestResult[] = [];
  await Promise.all(
    Array.from({ length: LANES }, async (_, lane) => {
      if (lane === LANES - 1) await beside;
      const [first, then] = lane === 0 ? [busy, left] : [left, busy];
      for (let next = first.shift() ?? then.shift(); next; next = first.shift() ?? then.shift()) {
        for (const file of next) {
          if (signal.aborted) return;
          results.push(await runFile(file, plan));
        }
      }
    }),
  );
  signal.throwIfAborted();
  return results.toSorted((a, b) => files.indexOf(a.file) - files.indexOf(b.file));
}

/** Those that leave no evidence take some seconds, too. */
const secondsOf = (file: TestFile) => publishedS(file) || 10;

async function runFile(file: TestFile, plan: Plan): Promise<TestResult> {
  const { board, timeLeft, title } = plan;
  const name = nameOf(file);
  const sinceMs = Date.now();
  board.begin(name, title());
  timeLeft.begin(file);
  const counts = await countFile(file, plan);
  timeLeft.end(file);
  const seconds = (Date.now() - sinceMs) / 1_000;
  board.end(name, `${paintResult(counts.failed === 0, process.stderr)}  ${name}`);
  return { file, seconds, ...counts };
}

async function countFile(file: TestFile, { board, env, signal }: Plan): Promise<Counts> {
  const name = nameOf(file);
  let shared: Record<string, string>;
  try {
    shared = await brokerEnv(file.model, (text) => board.phase(name, text), signal);
  } catch (error) {
    board.line(name, (error as Error).message);
    return { passed: 0, failed: 1 };
  }
  return bunTest({
    files: [file.path],
    cwd: join(repoFolder, file.model),
    env: { ...shared, ...env(file) },
    onLine: (line) => board.line(name, line),
    signal,
  });
}

function nameOf({ model, name }: TestFile): string {
  return `${model}/${name}`;
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

/** Prints what came of each file as a table, and why one fell short, by its evidence in that folder; returns the sums. */
export async function sayResults(
  results: readonly TestResult[],
  runFolder: string,
): Promise<Counts> {
  const evidence = await Promise.all(results.map(({ file }) => evidenceOf(runFolder, file)));
  const rows = results.map(({ file, seconds }, i) => [
    nameOf(file),
    `${seconds.toFixed(1)} s`,
    headlineOf(evidence[i]),
  ]);
  console.log();
  for (const [i, line] of textTable(rows).entries()) {
    const failed = results[i]!.failed > 0;
    console.log(`${paintResult(!failed, process.stdout)}  ${line}`);
    if (!failed) continue;
    const failure = evidence[i]?.failure ?? "";
    const why = failure.split("\n").filter(Boolean);
    for (const one of why.slice(0, MOST_LINES)) console.log(`            ${one}`);
    if (why.length > MOST_LINES) console.log("            … more in its evidence");
  }
  return total(results);
}

/** What an experiment measured, in one line; empty for another file, and for one that left nothing. */
function headlineOf(one: Evidence | undefined): string {
  if (!one || !Object.hasOwn(headlines, one.experiment)) return "";
  const headline = headlines[one.experiment as ExperimentName](new Figures([one]));
  return printable(headline.replaceAll("`", ""));
}

/** What the file left of itself; undefined where it left nothing. */
export async function evidenceOf(runFolder: string, file: TestFile): Promise<Evidence | undefined> {
  const stored = Bun.file(join(runFolder, file.model, `${file.name}.json`));
  return (await stored.exists()) ? ((await stored.json()) as Evidence) : undefined;
}
