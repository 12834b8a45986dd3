import type { Evidence } from "@lab/evidence/evidence";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { composeReport, findNotRun, findShortfalls } from "./compose.ts";
import { requirements } from "@lab/evidence/experiments";
import { inventAll, inventEvidence, writeInventedRun } from "../fixture.ts";
import { toHtml } from "./html.ts";
import { toMarkdown } from "./markdown.ts";
import { writeReport } from "./report.ts";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "lab-report-"));
});
afterAll(() => rm(folder, { recursive: true }));

const layout = {
  chart: (one: Evidence, id: string): string => `${one.experiment}-${id}.svg`,
  evidence: (one: Evidence): string => `${one.experiment}.json`,
};

function markdownOf(evidence: Evidence[]): string {
  return toMarkdown(composeReport(evidence, layout));
}

function htmlOf(evidence: Evidence[]): string {
  return toHtml("Title", "Lead", composeReport(evidence, layout));
}

test("a run becomes a report with its charts and its evidence beside it", async () => {
  const run = await writeInventedRun(join(folder, "run"), inventAll());
  const out = join(folder, "out");
  const { markdown, html, shortfalls } = await writeReport([run], out);
  expect(shortfalls).toEqual([]);
  const text = await Bun.file(markdown).text();
  const images = [...text.matchAll(/!\[[^\n]*\]\((charts\/[^)]+)\)/g)];
  expect(images.length).toBe(13);
  for (const [, image = ""] of images) {
    expect(await Bun.file(join(out, image)).exists()).toBe(true);
  }
  expect(await readdir(join(out, "evidence", "streaming-kafka"))).toHaveLength(3);
  expect(await Bun.file(html).text()).toStartWith("<!doctype html>");
});

test("proofs have a page of their own, with the sums over all of them", async () => {
  const proof = (model: Evidence["model"], kills: number): Evidence => ({
    ...inventEvidence("replay"),
    experiment: "crash-points",
    requirements: [],
    model,
    figures: { orders: 100, acknowledged: 90, unknown: 4, kills, violations: 0 },
  });
  const lostReply = {
    ...inventEvidence("hanging-inventory"),
    experiment: "lost-reply",
    figures: {},
  };
  const proofs = [proof("sync-rest", 3), proof("streaming-kafka", 4), lostReply];
  const run = await writeInventedRun(join(folder, "proofs"), [...inventAll(), ...proofs]);
  const { html, markdown, shortfalls } = await writeReport([run], join(folder, "with-proof"));
  expect(shortfalls).toEqual([]);
  const report = await Bun.file(markdown).text();
  expect(report).toContain("[proof.md](proof.md)");
  expect(report).not.toContain("crash-points");
  const page = await Bun.file(join(folder, "with-proof", "proof.md")).text();
  expect(page).toMatch(
    /\*\*all\*\* +\| 3 of 3 \| +\| +0 \| +200 \| +180 \| +12 \| +8 \| +– \| +– \| +7 \| +– \|/,
  );
  expect(page).toMatch(
    /\*\*all\*\* +\| 1 of 1 \| streaming-kafka +\| +0 \| +100 \| +90 .* +4 \| +– \|/,
  );
  expect(page).toContain("SIGKILL at every point: C. A stream: Kafka");
  expect(page).toContain('<a id="sync-rest-lost-reply"></a>');
  expect(report).toContain("[lost-reply](proof.md#sync-rest-lost-reply)");
  expect(await Bun.file(html).text()).toContain('href="proof.html#sync-rest-lost-reply"');
});

test("runs are put together, the last one's evidence counting where several have it", async () => {
  const slow = (delayMs: number) => ({
    ...inventEvidence("slow-inventory"),
    question: `${delayMs}?`,
  });
  const first = await writeInventedRun(join(folder, "first"), [slow(1), inventEvidence("replay")]);
  const second = await writeInventedRun(join(folder, "second"), [slow(2)]);
  const { markdown, notRun } = await writeReport([first, second], join(folder, "together"));
  expect(notRun).toHaveLength(11);
  const text = await Bun.file(markdown).text();
  expect([text.includes("1?"), text.includes("2?"), text.includes("### replay")]).toEqual([
    false,
    true,
    true,
  ]);
  const kept = join(folder, "together", "evidence", "sync-rest", "slow-inventory.json");
  expect(((await Bun.file(kept).json()) as Evidence).question).toBe("2?");
});

test("the page needs nothing from elsewhere", () => {
  const html = htmlOf(inventAll());
  expect(html).not.toMatch(/<script|<img|@import|url\(|src=/);
  const links = [...html.matchAll(/href="([^"]*)"/g)].map(([, href]) => href);
  expect(links.filter((href) => href?.includes("//"))).toEqual([]);
});

test("every link within the page has its target, and no id is there twice", () => {
  const html = htmlOf(inventAll());
  const ids = [...html.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id);
  expect(ids.length).toBe(new Set(ids).size);
  const anchors = [...html.matchAll(/href="#([^"]+)"/g)].map(([, id]) => id);
  expect(anchors.filter((anchor) => !ids.includes(anchor))).toEqual([]);
  const markdown = markdownOf(inventAll());
  for (const anchor of new Set(anchors)) {
    if (anchor === "content") continue;
    expect(markdown).toContain(`<a id="${anchor}"></a>`);
  }
});

test("every line of the assignment is in the index", () => {
  const markdown = markdownOf(inventAll());
  for (const { id } of requirements) {
    expect(markdown).toMatch(new RegExp(`^\\| ${id} +\\|`, "m"));
  }
});

test("an experiment that did not hold is said so, with what was expected", () => {
  const evidence = inventAll().map((one) =>
    one.experiment === "backlog-drain"
      ? {
          ...one,
          held: false,
          failure: "expect(received).toEqual(expected)\n\nlong",
          checks: [{ label: "none lost", held: false, expected: [], actual: ["o1"] }],
        }
      : one,
  );
  const reason = 'async-rabbitmq/backlog-drain did not hold: none lost: expected [], got ["o1"]';
  expect(findShortfalls(evidence)).toEqual([reason]);
  const markdown = markdownOf(evidence);
  expect(markdown).toContain("## What fell short");
  expect(markdown).toContain("**Did not hold.** 0 of 1 checks held");
  expect(htmlOf(evidence)).toContain("not held</span>");
});

test("nothing is made up for experiments that did not run", () => {
  const evidence = [inventEvidence("slow-inventory")];
  expect(findShortfalls(evidence)).toEqual([]);
  expect(findNotRun(evidence)).toHaveLength(12);
  const markdown = markdownOf(evidence);
  expect(markdown).toMatch(
    /^Not part of this report, since not run: baseline-latency, .*replay\./m,
  );
  // An experiment that wasn't run has no section and no paragraph; the comparison tables name it.
  expect(markdown).not.toMatch(/Not measured|^_not run_$|What fell short|reasoning-c4"|^## B\./m);
  expect(markdown).toMatch(/^\| C4 .*_not run_/m);
  expect(markdown).not.toMatch(/undefined|NaN/);
  expect(markdownOf([])).not.toMatch(/undefined|NaN/);
});

test("the reasoning follows the figures, also where they are not as hoped", () => {
  const replay = inventEvidence("replay");
  replay.figures["digest_after"] = "ffffffffffffffff";
  const markdown = markdownOf([replay]);
  expect(markdown).toContain("**not the same**, although they should be");
  expect(markdown).not.toContain("digests equal");
});

test("the conclusion follows the figures: one order lost, and nothing is recommended", () => {
  const none = { refused: 0, lost: 0, doubled: 0 };
  const withFigures = (figures: Record<string, number>) =>
    markdownOf(
      inventAll().map((one) =>
        ["backlog-drain", "broker-down"].includes(one.experiment)
          ? { ...one, figures: { ...one.figures, ...none, ...figures } }
          : one,
      ),
    );
  expect(withFigures({})).toContain(
    "**Conclusion: for this campus, I would choose RabbitMQ, because**",
  );
  const lost = withFigures({ lost: 1 });
  expect(lost).not.toContain("I would choose");
  expect(lost).toContain("**Conclusion: for this campus, this run gives no ground for a choice.**");
});

test("the reasoning stands before the experiments, and what is long is one click away", () => {
  const markdown = markdownOf(inventAll());
  const at = (text: string) => markdown.indexOf(text);
  expect(at('id="reasoning-a5"')).toBeLessThan(at('id="sync-rest-baseline-latency"'));
  const concluded = markdown.lastIndexOf("Conclusion: for this campus");
  expect(concluded).toBeGreaterThan(at('id="comparison"'));
  expect(concluded).toBeLessThan(at("**The three models compared**"));
  const folded = [...markdown.matchAll(/<summary>([^<]*)<\/summary>/g)].map(([, title]) => title);
  expect(new Set(folded)).toEqual(
    new Set([
      "The chart&#39;s numbers",
      "Method, and what would disprove it",
      "2 of 2 checks held",
    ]),
  );
});

test("text from evidence can't become markup", () => {
  const evil = inventEvidence("slow-inventory");
  const attack = "<img src=x onerror=alert(1)> *b* [l](javascript:x)";
  evil.question = attack;
  evil.excerpts = [{ id: "x", title: attack, text: `\`\`\`\n${attack}` }];
  evil.tables = [{ id: "t", title: attack, columns: [{ name: attack }], rows: [[attack]] }];
  evil.checks = [{ label: attack, held: true, expected: attack, actual: 1 }];
  const html = htmlOf([evil]);
  expect(html).not.toContain("<img");
  expect(html).not.toContain('href="javascript');
  expect(markdownOf([evil])).toContain("````text\n```\n<img");
});
