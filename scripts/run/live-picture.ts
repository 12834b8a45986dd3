import type { Action } from "@lab/dashboard/contract/commands";
import type { Model } from "@lab/evidence/evidence";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { outage } from "@lab/lab/host/waiting";
import { withPage } from "@lab/lab/machine/chromium";

const ORDERS_PER_MINUTE = 600;
const WELL_S = 8;
/** Long enough for what waits to be seen, and before a timeout ends it. */
const BROKEN_S = 6;

/**
 * Takes a picture of the live page while it shows what it is for: orders come, and Inventory is dead
 * in each model. Everything is healed afterwards.
 */
export async function takeLivePicture(
  pageUrl: string,
  models: readonly Model[],
  file: string,
): Promise<void> {
  const { hash, origin } = new URL(pageUrl);
  const act = async (action: Action) => {
    const answer = await fetch(`${origin}/actions`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-lab-key": hash.slice(1) },
      body: JSON.stringify(action),
    });
    if (!answer.ok) throw new Error(`the page's ${action.do}: ${await answer.text()}`);
  };
  await withPage(async (page) => {
    await page.setViewportSize({ width: 1_200, height: 960 });
    await page.goto(pageUrl);
    await act({ do: "place", models: [...models] });
    await act({ do: "steady", models: [...models], per_minute: ORDERS_PER_MINUTE });
    await outage(WELL_S);
    for (const model of models) {
      await act({ do: "kill", model, service: factsOf(model).services[1] });
    }
    await outage(BROKEN_S);
    await page.screenshot({ path: file });
    await act({ do: "steady", models: [...models], per_minute: 0 });
    await act({ do: "heal" });
  });
}
