import { type Evidence, Model } from "@lab/evidence/evidence";
import { experiments } from "@lab/evidence/experiments";
import { repoFolder } from "@lab/evidence/folders";
import { expect, test } from "bun:test";
import { join } from "node:path";
import { handinFiles } from "./files.ts";
import { indexPage } from "./index-page.ts";
import { screenshotPages } from "./screenshots.ts";

/** The published evidence: what a real run leaves. */
const evidence: Evidence[] = await Promise.all(
  Object.entries(experiments).map(([name, model]) =>
    Bun.file(join(repoFolder, model, "results", `${name}.json`)).json(),
  ),
);
const { files, missing } = handinFiles(evidence);
const textOf = (path: string) => files.find((file) => file.path === path)?.text ?? "";
const figure = (experiment: string, name: string) =>
  evidence.find((one) => one.experiment === experiment)?.figures[name];

test("a real run gives every file that the assignment asks for", () => {
  expect(missing).toEqual([]);
  expect(
    Model.anyOf.map((model) => files.some(({ path }) => path.startsWith(model.const))),
  ).toEqual([true, true, true]);
  expect(screenshotPages(evidence)).toHaveLength(9);
});

test("metrics.json has every kitchen, and they add up to the orders", () => {
  const { kitchens, placed } = JSON.parse(textOf("streaming-kafka/metrics.json")) as {
    placed: number;
    kitchens: Record<string, { placed: number }>;
  };
  const sum = Object.values(kitchens).reduce((all, kitchen) => all + kitchen.placed, 0);
  expect([sum, placed]).toEqual([10_000, 10_000]);
});

test("the replay's diff has the one metric that measures the reader, and no other", () => {
  const changed = textOf("streaming-kafka/metrics.diff").match(/^[-+] .*$/gm);
  expect(changed?.map((line) => line.split(":", 1)[0])).toEqual([
    "- orders per minute by processing time",
    "+ orders per minute by processing time",
  ]);
  const reset = JSON.parse(textOf("streaming-kafka/metrics-at-the-reset.json")) as object;
  expect(reset).toMatchObject({ placed: 0, reserved: 0, failed: 0 });
});

test("the backlog's log has the outage, the peak on its way, and an empty queue at the end", () => {
  const log = textOf("async-rabbitmq/backlog-recovery.log").split("\n");
  const at = (text: string) => log.findIndex((line) => line.includes(text));
  const peak = Number(figure("backlog-drain", "peak_depth")).toLocaleString("en-US");
  expect(at("*** Inventory dead")).toBeGreaterThan(0);
  expect(at("is up again")).toBeGreaterThan(at("*** Inventory dead") + 50);
  expect(at(`peak_depth                   ${peak}`)).toBeGreaterThan(at("In sum"));
  // The drain takes about a second: each sample of it is there.
  expect(log[at("is up again") + 10]).toMatch(/^ +\d+\.\d\d s {2}ready /);
  const secondsOf = (line = "") => Number.parseFloat(line);
  expect(secondsOf(log[at("is up again") + 10]) - secondsOf(log[at("is up again")])).toBeLessThan(
    3,
  );
  expect(log[at("In sum") - 2]).toContain("ready 0, ready and unacknowledged 0");
});

test("what an experiment that wasn't run would have given is named, and nothing is made up", () => {
  const without = handinFiles(evidence.filter(({ experiment }) => experiment !== "replay"));
  expect(without.missing).toEqual(
    ["metrics-before.json", "metrics-at-the-reset.json", "metrics-after.json", "metrics.diff"].map(
      (name) => `streaming-kafka/${name}: nothing from replay`,
    ),
  );
});

test("the index names who hands it in, and what was left out", () => {
  const info = {
    id: "r1",
    started_at: "2026-01-02T03:04:05Z",
    machine: evidence[0]!.machine,
    versions: {},
  };
  const index = indexPage(info, evidence, {
    author: "Ada *L*",
    entries: [{ path: "a.md", title: "A", answers: "A1" }],
    leftOut: ["b.png: no Chromium"],
  });
  expect(index).toContain("Handed in by **Ada \\*L\\***.");
  expect(index).toContain("13 of 13 experiments held");
  expect(index).toContain("- b.png: no Chromium");
});
