import type { Page } from "playwright-core";
import { findTool, whatToType } from "./doctor.ts";

/** Only a page that hangs takes that long, even on a busy machine. */
const TIMEOUT_MS = 120_000;

/**
 * Calls `use` with a page of a headless Chromium, which ends afterwards. Throws with the commands to
 * type where there is none.
 */
export async function withPage<T>(use: (page: Page) => Promise<T>): Promise<T> {
  const found = findTool("chromium");
  if (found === undefined) throw new Error(whatToType(["chromium"]));
  // Only now: it would cost every command of the lab a tenth of a second.
  const { chromium } = await import("playwright-core");
  const browser = await chromium.launch({
    executablePath: found.path,
    // Chromium refuses to start as root in its sandbox. It gets pages of this machine alone.
    chromiumSandbox: process.getuid?.() !== 0,
  });
  try {
    const page = await browser.newPage({ viewport: { width: 1_280, height: 900 } });
    page.setDefaultTimeout(TIMEOUT_MS);
    return await use(page);
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
