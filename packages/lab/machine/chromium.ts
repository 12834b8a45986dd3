import { existsSync } from "node:fs";
import type { Page } from "playwright-core";

/** For a message: what to type where there is no Chromium. */
export const CHROMIUM_MISSING = `no Chromium and no Chrome found. Type:
  Debian, Ubuntu:  sudo apt-get install -y chromium
  Homebrew:        brew install --cask chromium`;

/** A Chromium, Chrome or Edge of this machine; undefined where there is none. */
export function findChromium(): string | undefined {
  const onPath = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const apps = ["Chromium", "Google Chrome", "Microsoft Edge"].map(
    (name) => `/Applications/${name}.app/Contents/MacOS/${name}`,
  );
  return (
    onPath.map((name) => Bun.which(name)).find((path) => path !== null) ?? apps.find(existsSync)
  );
}

/** Calls `use` with a page of a headless Chromium, which ends afterwards. Throws with the command to type where there is none. */
export async function withPage<T>(use: (page: Page) => Promise<T>): Promise<T> {
  const executablePath = findChromium();
  if (executablePath === undefined) throw new Error(CHROMIUM_MISSING);
  // Only now: it would cost every command of the lab a tenth of a second.
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({
    executablePath,
    // Chromium refuses to start as root in its sandbox. It gets pages of this machine alone.
    chromiumSandbox: process.getuid?.() !== 0,
  });
  try {
    return await use(await browser.newPage({ viewport: { width: 1_280, height: 900 } }));
  } finally {
    await browser.close();
  }
}

/** Prints an HTML file as a PDF, as its style sheet wants the paper. */
export async function printPdf(html: string, pdf: string): Promise<void> {
  await withPage(async (page) => {
    await page.goto(Bun.pathToFileURL(html).href);
    await page.pdf({ path: pdf, preferCSSPageSize: true, printBackground: true });
  });
}
