// The live page as a person uses it, in a real Chromium, over three real models and their brokers.
// Disproved by: a click that does nothing, a number that the system contradicts, a lamp that is green
// without having looked, a page of another origin that changes something, a process that is left.
import { readRun } from "@lab/evidence/evidence";
import { isAlive } from "@lab/lab/host/process-id";
import { eventually } from "@lab/lab/host/waiting";
import { launchChromium } from "@lab/lab/machine/chromium";
import { provide } from "@lab/lab/machine/doctor";
import { ownLab } from "@lab/proof/kills/own-lab";
import { afterAll, beforeAll, expect, test } from "bun:test";
import type { Browser, Page } from "playwright-core";
import { accessibilityProblems, type Live, startLive, upAll } from "./live-page.ts";

const TIMEOUT_MS = 120_000;
/** On a new machine, Chromium and the brokers are installed first. */
const INSTALLED_MS = 900_000;
/** A page that shows what is asked shows it within this time, on a busy machine too. */
const SHOWN_MS = 40_000;

let lab: Awaited<ReturnType<typeof ownLab>>;
let live: Live;
let browser: Browser;
let page: Page;
/** What the browser has complained of. */
const errors: string[] = [];

beforeAll(async () => {
  await provide(["chromium"]);
  browser = await launchChromium();
  lab = await ownLab();
  await upAll(lab);
  live = await startLive(lab, []);
  page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
  page.setDefaultTimeout(SHOWN_MS);
  // What the page's own rules forbid, as an inline script, is said here.
  page.on("console", (message) => void (message.type() === "error" && errors.push(message.text())));
  page.on("pageerror", ({ message }) => void errors.push(message));
  await page.goto(live.url);
}, INSTALLED_MS);

afterAll(async () => {
  await browser?.close();
  await live?.[Symbol.asyncDispose]();
  await lab?.[Symbol.asyncDispose]();
}, TIMEOUT_MS);

const click = (name: string | RegExp) => page.getByRole("button", { name }).first().click();
const column = (title: string) => page.getByRole("article", { name: title });
/** Waits until the page shows it; throws with what it shows instead of it. */
async function sees(text: string | RegExp): Promise<void> {
  try {
    await page.getByText(text).first().waitFor();
  } catch (error) {
    const shown = await page.locator(".said, aside").allInnerTexts();
    throw new Error(`${String(text)} isn't shown, but: ${shown.join("\n")}`, { cause: error });
  }
}
const toldOf = async (title: string) =>
  (await column(title).locator(".customer").innerText()).replaceAll("\n", " ");

async function ordersStored(): Promise<number> {
  const { services } = await lab.status();
  const urls = services.filter(({ service }) => service.startsWith("order")).map(({ url }) => url);
  const pages = await Promise.all(
    urls.map(
      async (url) => (await fetch(`${url}/orders`)).json() as Promise<{ orders: unknown[] }>,
    ),
  );
  return pages.reduce((sum, { orders }) => sum + orders.length, 0);
}

test(
  "another site's page, a wrong host and a missing key change nothing",
  async () => {
    const place = JSON.stringify({ do: "place", models: ["sync-rest"] });
    const post = (headers: Record<string, string>) =>
      fetch(`${live.origin}/actions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...headers },
        body: place,
      });
    const key = new URL(live.url).hash.slice(1);
    const answers = await Promise.all([
      post({}),
      post({ "x-lab-key": "guessed" }),
      post({ "x-lab-key": key, origin: "http://evil.example" }),
      post({ "x-lab-key": key, host: "evil.example" }),
      fetch(live.origin, { headers: { host: "evil.example" } }),
      fetch(`${live.origin}/events`, { headers: { host: "evil.example:80" } }),
    ]);
    expect(answers.map(({ status }) => status)).toEqual([403, 403, 403, 403, 403, 403]);
    expect(await ordersStored()).toBe(0);
    const { headers } = await fetch(live.origin);
    expect(headers.get("content-security-policy")).toContain("script-src 'self'");
  },
  TIMEOUT_MS,
);

test(
  "one click places the same order in all three, and each ends as its model promises",
  async () => {
    await sees("no order from this page in the last minute");
    await click("Order once in all three");
    const row = page.getByRole("row", { name: /^1 / });
    await row.waitFor();
    await eventually("all have ended", async () => {
      const cells = await row.getByRole("cell").allInnerTexts();
      return (
        /confirmed [\d.]+ m?s told 201 confirmed/.test(cells[0]!) &&
        /confirmed [\d.]+ m?s told 202 placed/.test(cells[1]!) &&
        /reserved [\d.]+ m?s told 202 placed/.test(cells[2]!)
      );
    });
    expect(await ordersStored()).toBe(3);
    // The command that does the same is shown.
    await sees(/curl http:\/\/127\.0\.0\.1:\d+\/order/);
  },
  TIMEOUT_MS,
);

test(
  "a burst ends, and every lamp turns green once the stores were looked at",
  async () => {
    await page.getByLabel("Burst of").selectOption("100");
    await click("Start");
    await eventually("all are answered", async () =>
      (await toldOf("A stream: Kafka")).includes("202 placed × 101"),
    );
    await eventually(
      "all lamps are green",
      async () => (await page.locator(".lamps li.kept").count()) === 12,
      { timeoutMs: SHOWN_MS },
    );
  },
  TIMEOUT_MS,
);

test(
  "Inventory killed: REST says no, the others wait; one button heals all, and what waited ends",
  async () => {
    for (const title of ["Synchronous REST", "Messages: RabbitMQ"]) {
      await column(title)
        .getByRole("button", { name: /Inventory of/ })
        .click();
      await page.getByRole("button", { name: "Kill", exact: true }).click();
      await column(title).locator(".service.killed").waitFor();
      await page.keyboard.press("Escape");
    }
    await sees("A: inventory killed");
    await click("Order once in all three");
    const row = page.getByRole("row", { name: /^2 / });
    await row.getByText("told 503 inventory_unreachable").waitFor();
    await column("Messages: RabbitMQ")
      .getByText(/^1 ready|1 ready/)
      .first()
      .waitFor();
    await click("Heal all");
    await row.getByText("confirmed", { exact: true }).waitFor();
    await sees("Nothing is broken");
    await sees(/A: inventory killed: healed after [\d.]+ s/);
    const { services } = await lab.status();
    expect(services.map(({ status }) => status)).toEqual(Array(9).fill("healthy"));
  },
  TIMEOUT_MS,
);

test(
  "without ledger and idempotent reserve the same message takes stock twice, and its lamp names the order",
  async () => {
    const rabbit = column("Messages: RabbitMQ");
    await rabbit.getByRole("button", { name: "Take a protection away" }).click();
    const ledger = page.locator(".protection", { hasText: "Ledger" });
    await ledger.getByRole("button", { name: "Take it away" }).click();
    await ledger.getByText("taken away").waitFor();
    await page.keyboard.press("Escape");
    await sees("B: without ledger, idempotent-reserve");
    await rabbit.getByRole("button", { name: /^RabbitMQ/ }).click();
    await click("Send the newest message again");
    await sees(/OrderPlaced of [0-9a-f-]+ was sent again/);
    const [id] = /[0-9a-f]{8}-[0-9a-f-]+/.exec(await page.locator(".said").innerText())!;
    await page.keyboard.press("Escape");
    const lamp = rabbit.locator(".lamps li.broken", { hasText: "Stock conserved" });
    await lamp.getByRole("button", { name: `…${id.slice(-8)}` }).waitFor();
    expect(await rabbit.locator(".lamps li.broken").count()).toBe(1);
    await click("Heal all");
    await sees("Nothing is broken");
  },
  TIMEOUT_MS,
);

test(
  "an order is followed in all three models, on one scale",
  async () => {
    await click("Follow order 2");
    const side = page.getByRole("complementary", { name: "Details" });
    await eventually("three timelines", async () => (await side.locator(".way").count()) === 3);
    await side
      .getByText(/Inventory: reserved/)
      .first()
      .waitFor();
    await side.getByText(/long waits drawn shorter/).waitFor();
    await side
      .getByRole("img", { name: /^Drawn shorter: .*\d s/ })
      .first()
      .waitFor();
    await page.keyboard.press("Escape");
    await side.waitFor({ state: "detached" });
    // The focus is where it was.
    expect(await page.evaluate<string>("document.activeElement.textContent")).toBe("Follow");
  },
  TIMEOUT_MS,
);

test(
  "a poison message is listed with its reason, repaired, and replayed; the broker says that it is gone",
  async () => {
    const rabbit = column("Messages: RabbitMQ");
    await rabbit.getByRole("button", { name: /^RabbitMQ/ }).click();
    await click("Send what is no order");
    await page.keyboard.press("Escape");
    await rabbit.getByRole("button", { name: "1 dead letter" }).click();
    const side = page.getByRole("complementary", { name: "Details" });
    await side.getByRole("heading", { name: "not_json" }).waitFor();
    // As it is, it would die again.
    await side.getByRole("button", { name: "Replay", exact: true }).click();
    await sees(/it would die again, not_json/);
    const { services } = await lab.status();
    const { database } = services.find(({ database: file }) =>
      file.includes("async-rabbitmq/order"),
    )!;
    const { Database } = await import("bun:sqlite");
    using store = new Database(database, { readonly: true });
    const [{ body }] = store.query("SELECT body FROM outbox ORDER BY seq LIMIT 1").all() as [
      { body: string },
    ];
    await side.getByLabel("Body").fill(body);
    await side.getByRole("button", { name: "Replay as edited" }).click();
    await sees("RabbitMQ took 1 back into inventory.order-placed; 0 dead letters are left there");
    await sees("There are none.");
    await page.keyboard.press("Escape");
    await rabbit.getByRole("button", { name: "0 dead letters" }).waitFor();
    // In Kafka, too, nothing goes back that would die again.
    const kafka = column("A stream: Kafka");
    await kafka.getByRole("button", { name: /^Kafka/ }).click();
    await click("Send what is no order");
    await page.keyboard.press("Escape");
    await kafka.getByRole("button", { name: "1 dead letter" }).click();
    await side.getByRole("button", { name: "Replay", exact: true }).click();
    await sees(/it would die again, not_json/);
    await side.getByRole("button", { name: "Replay all" }).click();
    await sees(/0 of 1 sent again/);
    await page.keyboard.press("Escape");
  },
  TIMEOUT_MS,
);

test(
  "a bad line strikes, before Kafka too, and heals",
  async () => {
    for (const [title, broker] of [
      ["Messages: RabbitMQ", /^RabbitMQ/],
      ["A stream: Kafka", /^Kafka/],
    ] as const) {
      await column(title).getByRole("button", { name: broker }).click();
      await click(/^A slow line/);
      await page.keyboard.press("Escape");
      await column(title)
        .getByText(/line slow, struck [1-9]/)
        .waitFor();
    }
    await click("Heal all");
    await sees("Nothing is broken");
  },
  TIMEOUT_MS,
);

test(
  "a replay of the stream ends with equal metrics",
  async () => {
    await click("Replay the stream");
    await click("Compute the metrics again");
    await sees(/✓ EQUAL: digest/);
    await page.keyboard.press("Escape");
  },
  TIMEOUT_MS,
);

test(
  "a step of the tour: predicted, locked, run, scored by its own number, and exported for the report",
  async () => {
    await click("Tour");
    const step = page.locator(".step-box", { hasText: "The same message twice" });
    await step.getByRole("button", { name: "Twice" }).click();
    await step.getByText("· your prediction").waitFor();
    await step.getByText("✕ Otherwise.").waitFor();
    expect(await step.getByRole("button", { name: /what happened/ }).innerText()).toStartWith(
      "Once",
    );
    expect(await step.getByRole("button", { name: "Not at all" }).isDisabled()).toBe(true);
    await sees("0 of 1 predicted right");
    await click("Export as evidence");
    await sees(/written: scripts\/lab report /);
    const [, folder = ""] = /scripts\/lab report (.+)$/.exec(
      await page.locator(".said").innerText(),
    )!;
    const { evidence } = await readRun(folder);
    expect(evidence.map(({ figures, model }) => ({ figures, model }))).toEqual([
      { model: "async-rabbitmq", figures: { steps: 1, predicted_right: 0, twice_units_taken: 2 } },
    ]);
    await page.keyboard.press("Escape");
  },
  TIMEOUT_MS,
);

test(
  "without its server the page says so, and comes back from a full snapshot",
  async () => {
    process.kill(live.pid, "SIGSTOP");
    await sees("disconnected: the numbers are old");
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      expect(await accessibilityProblems(page), colorScheme).toEqual([]);
    }
    process.kill(live.pid, "SIGCONT");
    await sees("● live");
    await page.getByRole("row", { name: /^2 / }).waitFor();
  },
  TIMEOUT_MS,
);

test(
  "by keyboard alone: order, open a service, pause it, let it go on, close",
  async () => {
    const focus = async (name: RegExp) => {
      for (let n = 0; n < 80; n += 1) {
        await page.keyboard.press("Tab");
        const text = await page.evaluate<string>(
          "document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent",
        );
        if (name.test(text)) return;
      }
      throw new Error(`the keyboard doesn't reach ${name}`);
    };
    await page.reload();
    await sees("● live");
    await focus(/^Order once/);
    await page.keyboard.press("Enter");
    await page.getByRole("row", { name: /^3 / }).waitFor();
    await focus(/Inventory of A stream/);
    await page.keyboard.press("Enter");
    await focus(/^Pause/);
    await page.keyboard.press("Space");
    await sees("C: inventory paused");
    await focus(/^Let it go on/);
    await page.keyboard.press("Space");
    await sees("Nothing is broken");
    await page.keyboard.press("Escape");
  },
  TIMEOUT_MS,
);

test(
  "narrow: the columns are tabs under a summary, and nothing is wider than the window",
  async () => {
    await page.setViewportSize({ width: 390, height: 844 });
    await column("Messages: RabbitMQ").waitFor({ state: "hidden" });
    await page.getByRole("tab", { name: /RabbitMQ/ }).click();
    await column("Messages: RabbitMQ").waitFor();
    await column("Synchronous REST").waitFor({ state: "hidden" });
    // As elements with their right edges.
    const wide = await page.evaluate<string[]>(
      "[...document.body.querySelectorAll('*')].filter((one) => one.getBoundingClientRect().right > innerWidth + 1).map((one) => one.outerHTML.slice(0, 120))",
    );
    expect(wide).toEqual([]);
    expect(await page.evaluate<number>("document.documentElement.scrollWidth")).toBe(390);
    await page.setViewportSize({ width: 1280, height: 900 });
  },
  TIMEOUT_MS,
);

test(
  "a process is killed with an order in its hands: a click while another is under way, and a span cut off",
  async () => {
    const side = page.getByRole("complementary", { name: "Details" });
    await column("Synchronous REST")
      .getByRole("button", { name: /Inventory of/ })
      .click();
    await side.getByRole("button", { name: "2 s slower" }).click();
    await sees("A: inventory 2 s slower");
    await click("Order once in all three");
    await side.getByText("struck 1 time so far").waitFor();
    await side.getByRole("button", { name: "Kill", exact: true }).click();
    await column("Synchronous REST").locator(".service.killed").waitFor();
    await page.keyboard.press("Escape");
    await click("Heal all");
    await sees("Nothing is broken");
    await page
      .getByRole("button", { name: /^Follow order/ })
      .first()
      .click();
    await side
      .getByText(/Inventory: POST \/reserve, cut off after [\d.,]+ m?s: its process ended/)
      .waitFor();
    await page.keyboard.press("Escape");
  },
  TIMEOUT_MS,
);

test("the browser has nothing to complain of but refusals that were asked for", () => {
  expect(errors.filter((text) => !/status of 400|ERR_/.test(text))).toEqual([]);
});

test(
  "axe finds nothing serious, in any state, light and dark",
  async () => {
    const open: Record<string, () => Promise<void>> = {
      page: async () => {},
      service: () =>
        column("Synchronous REST")
          .getByRole("button", { name: /Inventory of/ })
          .click(),
      broker: () =>
        column("Messages: RabbitMQ")
          .getByRole("button", { name: /^RabbitMQ/ })
          .click(),
      protections: () => click("Take a protection away"),
      letters: () => click("0 dead letters"),
      order: () => click("Follow order 3"),
      replay: () => click("Replay the stream"),
      tour: () => click("Tour"),
    };
    const found: Record<string, string[]> = {};
    for (const colorScheme of ["light", "dark"] as const) {
      await page.emulateMedia({ colorScheme });
      for (const [state, go] of Object.entries(open)) {
        await go();
        found[`${state} ${colorScheme}`] = await accessibilityProblems(page);
        await page.keyboard.press("Escape");
      }
    }
    expect(Object.entries(found).filter(([, problems]) => problems.length > 0)).toEqual([]);
  },
  // Sixteen looks, each at the whole page.
  3 * TIMEOUT_MS,
);

test(
  "Ctrl-C ends what the page has started, and leaves what was up before",
  async () => {
    const { code, output } = await live.interrupt();
    expect({ code, output }).toMatchObject({ code: 0 });
    expect((await lab.status()).services.map(({ status }) => status)).toEqual(
      Array(9).fill("healthy"),
    );
    await lab.run(["down"]);
    const own = await startLive(lab, ["sync"]);
    const pids = (await lab.status()).services.map(({ pid }) => pid);
    expect(pids.filter(isAlive)).toHaveLength(3);
    expect((await own.interrupt()).code).toBe(0);
    expect(pids.filter(isAlive)).toEqual([]);
  },
  TIMEOUT_MS,
);
