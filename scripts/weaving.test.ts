// Every change that the proofs make to a service's code can be applied, and every one is used.
import { repoFolder } from "@lab/evidence/folders";
import { weavingOf } from "@lab/proof/weaving/weaving-env";
import { EVERYWHERE, editOf, STOP_STEP } from "@lab/proof/weaving/crash-sites";
import { type Edit, weave } from "@lab/proof/weaving/weave";
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join } from "node:path";

const MODELS = await Promise.all(
  ["sync-rest", "async-rabbitmq", "streaming-kafka"].map(async (model) => ({
    model,
    ...(await weavingOf(model)),
  })),
);

const read = (path: string) => readFileSync(join(repoFolder, path), "utf8");

test("every passage that a proof changes is in the code, once, whichever protection is gone", () => {
  const wrong: string[] = [];
  for (const { CRASH_SITES, model, PROTECTIONS } of MODELS) {
    const gaps = Object.entries(CRASH_SITES).flatMap(([service, points]) =>
      [...Object.keys(EVERYWHERE), ...Object.keys(points)].map((point) =>
        editOf(point, `${model}/${service}`, points)!,
      ),
    );
    for (const edits of [[], ...Object.values(PROTECTIONS)]) {
      for (const gap of gaps) wrong.push(...problemsOf([...edits, gap]));
    }
  }
  expect([...new Set(wrong)]).toEqual([]);
});

/** The problems when those edits are applied to their files. */
function problemsOf(edits: readonly Edit[]): string[] {
  return [...Map.groupBy(edits, ({ file }) => file)].flatMap(([file, own]) => {
    const key = JSON.stringify(own);
    if (!known.has(key)) known.set(key, problemOf(file, own));
    return known.get(key)!;
  });
}

/** By the edits of one file: most come again with every protection. */
const known = new Map<string, string[]>();

function problemOf(file: string, own: readonly Edit[]): string[] {
  try {
    new Bun.Transpiler({ loader: "ts" }).transformSync(weave(read(file), own));
    return [];
  } catch (error) {
    return [`${file}: ${(error as Error).message}`];
  }
}

test("every protection of a model is taken away there, so that the checker has to find it", () => {
  for (const { model, PROTECTIONS } of MODELS) {
    expect(takenAwayIn(model), model).toEqual(Object.keys(PROTECTIONS).sort());
  }
});

/** The protections that a model's mutants remove, in its own situations and in the shared ones. */
function takenAwayIn(model: string): string[] {
  const suite = read(`${model}/tests/proof/mutants.proof.ts`);
  const shared = read("packages/proof/kills/mutants.ts").split(/^export (?:const|function) /m);
  // Lint allows no import that isn't used.
  const used = shared.filter((text) => suite.includes(/^\w+/.exec(text)?.[0] ?? ""));
  const names = [suite, ...used].flatMap((text) =>
    [...text.matchAll(/\bwithout: "([^"]+)"/g)].flatMap(([, some]) => some!.split(",")),
  );
  return [...new Set(names)].sort();
}

test("every crash point is visited, and every visited one is there, once", () => {
  for (const { CRASH_SITES, model } of MODELS) {
    const table = read(`${model}/tests/proof/crash-points.proof.ts`);
    const visited = [...table.matchAll(/[[(]\s*"([\w-]+)",\s*"([\w-]+)"/g)].map(
      ([, service, point]) => `${service} ${point}`,
    );
    const declared = Object.entries(CRASH_SITES).flatMap(([service, points]) =>
      Object.keys(points).map((point) => `${service} ${point}`),
    );
    expect(visited.sort(), model).toEqual(declared.sort());
  }
});

test("every step of a stop is a crash point, but for the last, which is the end", () => {
  for (const { CRASH_SITES, model } of MODELS) {
    for (const [service, points] of Object.entries(CRASH_SITES)) {
      // What Kafka's services share of their stop.
      const shared = model === "streaming-kafka" ? ["group-left", "kafka-left"] : [];
      const own = [...read(`${model}/${service}.ts`).matchAll(/^ {6}\["([\w-]+)", \(\) =>/gm)];
      const steps = [...shared, ...own.map(([, step]) => step!)];
      const visited = Object.keys(points).filter((point) => points[point] === STOP_STEP);
      expect([...visited, "store-closed"].sort(), `${model}/${service}`).toEqual(steps.sort());
    }
  }
});
