// The published pages in a real Chromium: what a reader sees on a laptop, on a phone and on paper.
import { repoFolder } from "@lab/evidence/folders";
import { withPage } from "@lab/lab/machine/chromium";
import { provide } from "@lab/lab/machine/doctor";
import axe from "axe-core";
import { beforeAll, expect, test } from "bun:test";
import { join } from "node:path";

/** Seconds on an idle machine; on a new one Chromium is installed first. */
const TIMEOUT_MS = 900_000;
/** A4 without its margins, in CSS pixels. */
const PAPER_PX = 680;

beforeAll(async () => {
  await provide(["chromium"]);
}, TIMEOUT_MS);

type Name = "report" | "proof";
type Page = Parameters<Parameters<typeof withPage>[0]>[0];

async function open(page: Page, name: Name, width: number): Promise<void> {
  await page.setViewportSize({ width, height: 900 });
  await page.goto(
    Bun.pathToFileURL(join(repoFolder, `packages/report/published/${name}.html`)).href,
  );
}

/** Runs in the page, as text: the tests' types have no browser. */
function look<T>(page: Page, script: string): Promise<T> {
  return page.evaluate<T>(`(() => { ${script} })()`);
}

/** Chart texts that stick out of their chart. */
const CUT_OFF = `return [...document.querySelectorAll("svg.chart")].flatMap((svg) => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter((text) => {
    const { left, right, top, bottom } = text.getBoundingClientRect();
    return left < box.left - 1 || right > box.right + 1 || top < box.top - 1 || bottom > box.bottom + 1;
  }).map((text) => text.textContent);
});`;

test.each(["report", "proof"] as const)(
  "nothing of %s is wider than a laptop, a phone or A4, and no chart's text is cut off",
  (name) =>
    withPage(async (page) => {
      for (const width of [1_280, 390, PAPER_PX]) {
        await page.emulateMedia({ media: width === PAPER_PX ? "print" : "screen" });
        await open(page, name, width);
        const wide = await look<number>(page, "return document.documentElement.scrollWidth");
        expect([width, wide <= width, await look(page, CUT_OFF)]).toEqual([width, true, []]);
      }
      // On paper nothing can be scrolled.
      const beyond = `const { right } = document.querySelector("main").getBoundingClientRect();
        return [...document.querySelectorAll("table, svg, pre")]
          .filter((one) => one.getBoundingClientRect().right > right + 1).map((one) => one.textContent.slice(0, 60));`;
      expect(await look<string[]>(page, beyond)).toEqual([]);
    }),
  TIMEOUT_MS,
);

test(
  "the first screen has the three pictures, and the proof's verdicts are on it without scrolling sideways",
  () =>
    withPage(async (page) => {
      await open(page, "report", 1_280);
      const ends = `return [...document.querySelectorAll(".panels li")].map((one) => one.getBoundingClientRect().bottom < 900)`;
      expect(await look<boolean[]>(page, ends)).toEqual([true, true, true]);
      for (const width of [1_280, 390]) {
        await open(page, "proof", width);
        const verdict = `const { left, right } = document.querySelector("td .badge").getBoundingClientRect(); return left > 0 && right < ${width}`;
        expect([width, await look<boolean>(page, verdict)]).toEqual([width, true]);
      }
    }),
  TIMEOUT_MS,
);

test.each([
  ["light", {}],
  // The other rules don't depend on colours.
  ["dark", { runOnly: ["color-contrast"] }],
] as const)(
  "axe finds nothing serious in the report, %s, folds open",
  (colorScheme, options) =>
    withPage(async (page) => {
      await page.emulateMedia({ colorScheme });
      await open(page, "report", 1_280);
      await look(page, "for (const fold of document.querySelectorAll('details')) fold.open = true");
      await page.evaluate(axe.source);
      const found = await page.evaluate<{ violations: axe.Result[] }>(
        `axe.run(${JSON.stringify(options)})`,
      );
      const serious = found.violations
        .filter(({ impact }) => impact === "serious" || impact === "critical")
        .map(({ id, nodes }) => `${id}: ${nodes[0]?.html.slice(0, 200)}`);
      expect(serious).toEqual([]);
    }),
  TIMEOUT_MS,
);
