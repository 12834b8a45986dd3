import type { Model } from "@lab/evidence/evidence";
import { repoFolder } from "@lab/evidence/folders";
import { experiments, proofs } from "@lab/evidence/experiments";
import { globSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { unknown, UsageError } from "../command.ts";
import { MODELS } from "../models.ts";

/** A file of a model's tests/ folder. */
export interface TestFile {
  model: Model;
  /** `slow-inventory`. */
  name: string;
  path: string;
  /** Whether it is one of the assignment's experiments. */
  isExperiment: boolean;
  /**
   * Whether it is in tests/proof. Both kinds leave evidence; other tests don't. Those called
   * `*.proof.ts` take so long that a plain `bun test` passes them over.
   */
  isProof: boolean;
}

/**
 * Experiments that need processes: a dead process refuses connections, as this experiment expects;
 * a dead container's address no longer exists, and doesn't answer.
 */
const OF_PROCESSES = ["dead-inventory"];

/** Whether the test works with services in containers. Tests other than experiments need processes of this machine: a crash point, a process id, a proxy in front of their broker. */
export function holdsInContainers({ isExperiment, name }: TestFile): boolean {
  return isExperiment && !OF_PROCESSES.includes(name);
}

/** Whether it starts a Kafka behind a proxy, which is always a process. */
export function proxiesKafka({ path }: TestFile): boolean {
  return readFileSync(path, "utf8").includes("startProxiedKafka(");
}

/** All test files of the models, with experiments and proofs in the report's order, other tests last. */
export function modelTests(): TestFile[] {
  const order = [...Object.keys(experiments), ...Object.keys(proofs)];
  const rank = ({ name, isExperiment, isProof }: TestFile) =>
    isExperiment || isProof ? order.indexOf(name) : order.length;
  return Object.values(MODELS).flatMap(({ model }) =>
    globSync(`${model}/tests/{,proof/}*.{test,proof}.ts`, { cwd: repoFolder })
      .toSorted()
      .map((file): TestFile => {
        const path = join(repoFolder, file);
        const name = basename(path).replace(/\.(test|proof)\.ts$/, "");
        const isProof = basename(dirname(path)) === "proof";
        const isExperiment =
          !isProof &&
          Object.hasOwn(experiments, name) &&
          experiments[name as keyof typeof experiments] === model;
        return { model, name, path, isExperiment, isProof };
      })
      .toSorted((a, b) => rank(a) - rank(b)),
  );
}

/** The benchmarks of the models. Each goes alone, as an experiment does. */
export function benchmarks(): TestFile[] {
  return Object.values(MODELS).flatMap(({ model }) =>
    globSync(`${model}/tests/benchmark/*.bench.ts`, { cwd: repoFolder })
      .toSorted()
      .map((file) => ({
        model,
        name: basename(file).replace(/\.bench\.ts$/, ""),
        path: join(repoFolder, file),
        isExperiment: true,
        isProof: false,
      })),
  );
}

/**
 * Test files of the packages, the scripts and the services that need no broker and start few
 * processes; relative to the clone.
 */
export function unitTests(): string[] {
  const parts = "{packages,scripts,sync-rest,async-rabbitmq,streaming-kafka}";
  return testFilesIn(`${parts}/**/*.test.ts`, /(^|\/)(node_modules|tests)$/);
}

/** Tests of the lab itself, with services and commands as real processes. */
export function processTests(): string[] {
  return testFilesIn("{packages/lab,scripts}/tests/*.test.ts", /(^|\/)node_modules$/);
}

function testFilesIn(pattern: string, without: RegExp): string[] {
  return globSync(pattern, { cwd: repoFolder, exclude: (path) => without.test(path) })
    .toSorted()
    .map((path) => `./${path}`);
}

/**
 * The files that the arguments name: `replay`, `streaming-kafka/replay`. Throws UsageError for
 * others.
 */
export function chooseTests(words: readonly string[], files: readonly TestFile[]): TestFile[] {
  const chosen = words.map((word) => {
    const named = files.filter(({ model, name }) => word === name || word === `${model}/${name}`);
    if (named.length === 0) {
      const names = word.includes("/")
        ? files.map(({ model, name }) => `${model}/${name}`)
        : files.map(({ name }) => name);
      throw new UsageError(unknown("experiment", word, [...new Set(names)]));
    }
    if (named.length > 1) {
      throw new UsageError(
        `${word} is in ${named.map(({ model }) => `${model}/${word}`).join(" and ")}: which?`,
      );
    }
    return named[0]!;
  });
  return files.filter((file) => chosen.includes(file));
}
