import type { Browser, Page } from "playwright-core";
import { findTool, whatToType } from "./doctor.ts";

/** Only a page that hangs takes that long, even on a busy machine. */
const TIMEOUT_MS = 120_000;

/** A headless Chromium, which the caller ends. Throws with the commands to type where there is none. */
export async function launchChromium(): Promise<Browser> {
  const found = findTool("chromium");
  if (found === undefined) throw new Error(whatToType(["chromium"]));
  // With DEBUG=*, as a shell may have it, playwright prints all that it does.
  delete process.env["DEBUG"];
  // Only now: it would cost every command of the lab a tenth of a second.
  const { chromium } = await import("playwright-core");
  return chromium.launch({
    executablePath: found.path,
    // The path of its socket, which is there, must be short: 104 characters in all.
    env: { ...process.env, TMPDIR: "/tmp" },
    // Chromium refuses to start as root in its sandbox. It gets pages of this machine alone.
    chromiumSandbox: process.getuid?.() !== 0,
  });
}

/** Calls `use` with a page of a headless Chromium, which ends afterwards. Throws as `launchChromium` does. */
export async function withPage<T>(use: (page: Page) => Promise<T>): Promise<T> {
  const browser = await launchChromium();
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
