import { afterAll, expect, test } from "bun:test";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readRun } from "@lab/evidence/evidence";
import { type Definition, type Run, runExperiment } from "../experiment/experiment.ts";
import { isAlive } from "../host/process-id.ts";
import { startService } from "../services/processes.ts";
import { newRunId, openRun } from "@lab/evidence/run-folder";
import { eventually } from "../host/waiting.ts";

const into = mkdtempSync(join(tmpdir(), "lab-experiment-"));
afterAll(() => rmSync(into, { recursive: true }));
await openRun(into);

const definition: Definition = {
  name: "something",
  model: "sync-rest",
  question: "does it?",
  method: "try",
  disproof: "it doesn't",
  requirements: ["A1"],
  parameters: { orders: 3 },
};

/** Runs it and returns its evidence, what it threw, and the Run. */
async function ran(
  name: string,
  body: (run: Run) => Promise<void>,
  more: Partial<Definition> = {},
) {
  let run: Run | undefined;
  const thrown = await runExperiment(into, { ...definition, name, ...more }, (its) => {
    run = its;
    return body(its);
  }).catch((error: Error) => error);
  const { evidence } = await readRun(into);
  const its = evidence.find((one) => one.experiment === name);
  if (run === undefined || its === undefined) throw new Error("no evidence");
  return { run, thrown, evidence: its };
}

test("an experiment that holds leaves evidence and no data", async () => {
  const { run, thrown, evidence } = await ran("held", async (run) => {
    writeFileSync(join(run.folder, "a.sqlite"), "x");
    run.parameter("rate_per_s", 50);
    run.figure("p50_ms", 1.5);
    run.table({ id: "t", title: "T", columns: [{ name: "a" }], rows: [[1]] });
    run.excerpt({ id: "e", title: "E", text: "text" });
    run.series({
      id: "s",
      title: "S",
      x: { name: "time", unit: "s" },
      y: { name: "depth", unit: "messages" },
      lines: [{ name: "queue", points: [[0, run.elapsedS()]] }],
      shaded: [],
    });
    await run.history.record("place_order", 1, async () => ({ kind: "ok" }));
    void run.history.record("place_order", 2, () => new Promise(() => {}));
    run.holds("sets are kept", new Set([1]), new Set([1]));
  });
  expect(thrown).toBeUndefined();
  expect(evidence).toMatchObject({
    experiment: "held",
    question: "does it?",
    brokers: "none",
    seed: 1,
    parameters: { orders: 3, rate_per_s: 50 },
    figures: { p50_ms: 1.5 },
    versions: { bun: Bun.version, elysia: expect.any(String) },
    checks: [{ label: "sets are kept", held: true, expected: [1], actual: [1] }],
    held: true,
  });
  const { tables, excerpts, series } = evidence;
  expect([tables.length, excerpts.length, series.length]).toEqual([1, 1, 1]);
  expect(evidence.failure).toBeUndefined();
  expect(existsSync(run.folder)).toBe(false);
  const history = join(into, "sync-rest", "held.history.jsonl");
  const lines = readFileSync(history, "utf8").trimEnd().split("\n");
  expect(lines.map((line) => JSON.parse(line).outcome)).toEqual(["ok", "unknown"]);
});

test("one that doesn't hold says so, throws, and keeps its data", async () => {
  const { run, thrown, evidence } = await ran("failed", async (run) => {
    run.holds("first", 1, 1);
    run.holds("all 201", { ok: 2 }, { ok: 3 });
  });
  expect(thrown).toBeInstanceOf(Error);
  expect(evidence.held).toBe(false);
  expect(evidence.checks.map(({ label, held }) => [label, held])).toEqual([
    ["first", true],
    ["all 201", false],
  ]);
  expect(evidence.failure).toContain("all 201");
  expect(existsSync(run.folder)).toBe(true);
  run.removeFolder();
});

test("what failed first and what failed while cleaning up are both told, without this machine's paths", async () => {
  const { run, evidence } = await ran("both", async () => {
    await using _ = {
      async [Symbol.asyncDispose]() {
        throw new AggregateError([new Error("b"), "c"], "many");
      },
    };
    throw new Error(`in ${import.meta.dir}`, { cause: new TypeError("deep") });
  });
  run.removeFolder();
  expect(evidence.failure).toContain("Error: in packages/lab");
  expect(evidence.failure).toContain("because: TypeError: deep");
  expect(evidence.failure).toContain("AggregateError: many\n- Error: b\n- c");
});

test("one that checks nothing doesn't hold", async () => {
  const { run, evidence } = await ran("nothing", async () => {});
  run.removeFolder();
  expect(evidence.failure).toBe("Error: the experiment checked nothing");
});

test("one that leaves a service running doesn't hold, and the service ends", async () => {
  const { run, evidence } = await ran("leak", async (run) => {
    const { folder } = run;
    const service = "inventory-service";
    await startService({ model: "sync-rest", service, folder });
    run.holds("it runs", true, true);
  });
  run.removeFolder();
  expect(evidence.failure).toBe("Error: it left services running: inventory-service");
});

test("one that takes too long is ended with its services, and its clean-up runs", async () => {
  let cleaned = false;
  const hangs = async ({ folder }: Run) => {
    const service = "inventory-service";
    const one = await startService({ model: "sync-rest", service, folder });
    try {
      await one.exited;
      throw new Error("killed");
    } finally {
      cleaned = true;
    }
  };
  const { run, evidence } = await ran("slow", hangs, { timeoutS: 2 });
  run.removeFolder();
  expect(evidence.failure).toBe("Error: not done after 2 s");
  expect(cleaned).toBe(true);
});

test("figures that are no numbers are refused where they are made", async () => {
  const { run, evidence } = await ran("nan", async (run) => run.figure("drain_rate_per_s", 1 / 0));
  run.removeFolder();
  expect(evidence.failure).toContain("figure drain_rate_per_s is not valid");
});

test("runs have namespaces and folders of their own", async () => {
  const runs: Run[] = [];
  for (const name of ["one", "two"]) {
    const { run } = await ran(name, async (run) => run.holds("so", 1, 1));
    runs.push(run);
  }
  const [one, two] = runs as [Run, Run];
  expect(one.namespace).toMatch(/^t[0-9a-f]{6}-$/);
  expect(one.namespace).not.toBe(two.namespace);
  expect(one.folder).not.toBe(two.folder);
});

test("a run's folder says what the machine is, and is opened once", async () => {
  const before = await readRun(into);
  expect(await openRun(into)).toBe(into);
  expect((await readRun(into)).info).toEqual(before.info);
  const { info } = await readRun(into);
  expect(info.versions).toMatchObject({
    bun: Bun.version,
    amqplib: expect.any(String),
    kafkajs: expect.any(String),
  });
  expect(info.machine.cores).toBeGreaterThan(0);
  expect(readdirSync(into)).toContain("run.json");
});

test("run ids sort by time", () => {
  const early = newRunId(new Date(0));
  expect(early).toMatch(/^19700101T000000Z-[0-9a-f]{4}$/);
  expect(early < newRunId(new Date(1_000))).toBe(true);
});

/** Runs a test file of one experiment as `bun test` does, with a run folder of its own. */
function bunTest(body: string) {
  const folder = mkdtempSync(join(into, "bun-test-"));
  const from = (file: string) => JSON.stringify(join(import.meta.dir, "..", file));
  writeFileSync(
    join(folder, "it.test.ts"),
    `import { experiment } from ${from("experiment/experiment.ts")};
    import { startService } from ${from("services/processes.ts")};
    experiment(${JSON.stringify({ ...definition, name: "it" })}, async (run) => { ${body} });`,
  );
  writeFileSync(
    join(folder, "bunfig.toml"),
    `[test]\npreload = [${from("experiment/preload.ts")}]\n`,
  );
  const child = Bun.spawn([process.execPath, "test"], {
    cwd: folder,
    env: { ...process.env, LAB_RUN_DIR: folder, LAB_SEED: "7" },
    stdout: "pipe",
    stderr: "ignore",
  });
  return { folder, child };
}

test("under bun test an experiment is a test, in the folder that LAB_RUN_DIR names", async () => {
  const { folder, child } = bunTest(`run.holds("the seed", run.seed, 7);`);
  expect(await child.exited).toBe(0);
  const { evidence } = await readRun(folder);
  expect(evidence).toMatchObject([{ experiment: "it", seed: 7, held: true }]);
});

test("Ctrl-C leaves neither service nor data behind", async () => {
  const { child } = bunTest(`
    const service = await startService({ model: "sync-rest", service: "inventory-service", folder: run.folder });
    await service.pause();
    console.log(JSON.stringify({ pid: service.pid, folder: run.folder }));
    await service.exited;`);
  let data = { pid: 0, folder: "" };
  for await (const bytes of child.stdout) {
    const line = /\{.*\}/.exec(Buffer.from(bytes).toString())?.[0];
    if (line === undefined) continue;
    data = JSON.parse(line) as typeof data;
    expect([isAlive(data.pid), existsSync(data.folder)]).toEqual([true, true]);
    child.kill("SIGINT");
  }
  expect(await child.exited).toBe(130);
  await eventually("the service ends", () => !isAlive(data.pid));
  expect(existsSync(data.folder)).toBe(false);
});
