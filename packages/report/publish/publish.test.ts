import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inventAll, inventEvidence, writeInventedRun } from "../fixture.ts";
import { checkPublished, publish } from "./publish.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lab-publish-"));
});
afterAll(() => rm(folder, { recursive: true }));

const readme = `# Lab

<!-- results:summary/streaming-kafka -->
<!-- /results -->

It drains at <!-- results:figure/backlog-drain/drain_s -->?<!-- /results -->.

In all: <!-- results:totals -->?<!-- /results -->.

<!-- results:latency -->
stale
<!-- /results -->
`;

test("a run is published, and what was changed by hand afterwards is found", async () => {
  const root = join(folder, "whole");
  const file = join(root, "README.md");
  await Bun.write(file, readme);
  await Bun.write(
    join(root, "sync-rest/README.md"),
    "<!-- results:sync-rest/baseline-latency/chart/percentiles -->\n<!-- /results -->\n",
  );
  const evidence = inventAll();
  evidence[0]?.excerpts.push({
    id: "log",
    title: "Log",
    text: `database ${tmpdir()}/lab-1/orders.sqlite`,
  });
  const figures = { orders: 1_200, kills: 3, violations: 0 };
  evidence.push({ ...inventEvidence("replay"), experiment: "crash-points", figures });
  const run = await writeInventedRun(join(folder, "run"), evidence);

  expect(await checkPublished(root)).toHaveLength(5);
  const { written, leftOut } = await publish(run, root);
  expect(leftOut).toEqual([]);
  expect(written).toContain("streaming-kafka/results/replay.json");
  expect(written).toContain("async-rabbitmq/results/charts/backlog-drain-depth.svg");
  expect(written).toContain("packages/report/published/report.html");
  for (const path of written) {
    expect(await Bun.file(join(root, path)).text()).not.toContain(tmpdir());
  }
  const filled = await Bun.file(file).text();
  expect(filled).toContain(
    "It drains at <!-- results:figure/backlog-drain/drain_s -->7.40 s<!-- /results -->.",
  );
  expect(filled).toContain(
    "In all: <!-- results:totals -->1 of 1 proofs held, with 1,200 orders, 3 kills, 0 other faults and 0 violations<!-- /results -->.",
  );
  expect(filled).toContain("](packages/report/published/report.md#streaming-kafka-replay)");
  expect(await Bun.file(join(root, "sync-rest/README.md")).text()).toContain(
    "](results/charts/baseline-latency-percentiles.svg)",
  );
  const report = await Bun.file(join(root, "packages/report/published/report.md")).text();
  expect(report).toContain("](../../../sync-rest/results/charts/");
  expect(await checkPublished(root)).toEqual([]);

  const formatted = Bun.spawnSync([process.execPath, "fmt", "--check", "."], {
    cwd: root,
  });
  expect(formatted.exitCode).toBe(0);

  await Bun.write(file, filled.replace("7.40 s", "0.10 s"));
  expect(await checkPublished(root)).toEqual([
    "README.md: results:figure/backlog-drain/drain_s isn't what the published results give; run scripts/lab publish --again",
  ]);
  expect((await publish(undefined, root)).written).toContain("README.md");
  expect(await Bun.file(file).text()).toBe(filled);
});

test("a run without evidence isn't taken for one that was published", async () => {
  const run = await writeInventedRun(join(folder, "interrupted"), [inventEvidence("replay")]);
  await rm(join(run, "streaming-kafka/replay.json"));
  expect(publish(run, join(folder, "nothing"))).rejects.toThrow("there is nothing to publish");
});

test("what did not hold isn't published, and the earlier result stays", async () => {
  const root = join(folder, "twice");
  const good = inventEvidence("replay");
  await publish(await writeInventedRun(join(folder, "good"), [good]), root);
  const bad = { ...inventEvidence("replay"), held: false, seed: 7 };
  const { leftOut } = await publish(await writeInventedRun(join(folder, "bad"), [bad]), root);
  expect(leftOut).toEqual(["streaming-kafka/replay did not hold"]);
  const published = join(root, "streaming-kafka/results/replay.json");
  expect(await Bun.file(published).json()).toEqual(good);
});

test("a block that names nothing, or has no end, is said to be wrong", async () => {
  const root = join(folder, "wrong");
  const check = async (text: string): Promise<string[]> => {
    await Bun.write(join(root, "README.md"), text);
    return checkPublished(root);
  };
  expect(await check("<!-- results:speed -->\n<!-- /results -->")).toEqual([
    "README.md: <!-- results:speed --> names nothing that the lab publishes",
  ]);
  for (const name of ["sync-rest/replay", "crash-points", "figure/storm/orders"]) {
    expect(await check(`<!-- results:${name} --><!-- /results -->`)).toEqual([
      `README.md: <!-- results:${name} --> names nothing that the lab publishes`,
    ]);
  }
  expect(await check("<!-- results:latency -->")).toEqual([
    "README.md: 1 results blocks are opened, but 0 are complete: each ends with <!-- /results -->",
  ]);
  expect(
    await check("<!-- results:replay -->\n\n_not published yet_\n\n<!-- /results -->"),
  ).toEqual([]);
});
