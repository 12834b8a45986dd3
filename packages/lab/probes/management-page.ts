import type { Broker } from "../brokers/broker.ts";
import { withPage } from "../machine/chromium.ts";
import { findTool } from "../machine/doctor.ts";

/**
 * A picture of RabbitMQ's management page: the list of all queues, once it shows that one, or the
 * queue's own page; undefined where the broker has no such page or this machine no Chromium.
 */
export async function shootManagementPage(
  { address, managementUrl }: Broker,
  queue: string,
  view: "list" | "queue",
): Promise<Uint8Array | undefined> {
  if (managementUrl === undefined || findTool("chromium") === undefined) return undefined;
  const { password, username } = new URL(address);
  return withPage(async (page) => {
    await page.goto(managementUrl);
    await page.fill("input[name=username]", decodeURIComponent(username));
    await page.fill("input[name=password]", decodeURIComponent(password));
    await page.click("input[type=submit]");
    await page.click("#tabs a[href='#/queues']");
    const link = page.getByRole("link", { name: queue, exact: true });
    await link.waitFor();
    if (view === "queue") {
      await link.click();
      // Its chart of the last minute.
      await page.locator("canvas").first().waitFor();
    }
    return page.screenshot();
  });
}
