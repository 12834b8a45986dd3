import type { Broker } from "../brokers/broker.ts";
import { withPage } from "../machine/chromium.ts";
import { findTool } from "../machine/doctor.ts";

/**
 * A picture of the queues on RabbitMQ's management page, once it shows that queue; undefined where
 * the broker has no such page or this machine no Chromium.
 */
export async function shootManagementPage(
  { address, managementUrl }: Broker,
  queue: string,
): Promise<Uint8Array | undefined> {
  if (managementUrl === undefined || findTool("chromium") === undefined) return undefined;
  const { password, username } = new URL(address);
  return withPage(async (page) => {
    await page.goto(managementUrl);
    await page.fill("input[name=username]", decodeURIComponent(username));
    await page.fill("input[name=password]", decodeURIComponent(password));
    await page.click("input[type=submit]");
    await page.click("#tabs a[href='#/queues']");
    await page.getByText(queue, { exact: true }).first().waitFor();
    return page.screenshot();
  });
}
