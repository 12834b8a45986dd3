/** Everything at once, for minutes. */
import { freePorts } from "@lab/lab/host/ports";
import { testStorm } from "@lab/proof/kills/storm";
import { startProxy } from "@lab/lab/proxy/proxy";
import { trialOf } from "@lab/lab/experiment/trial";

testStorm("sync-rest", async (run) => {
  const [inventoryPort, notificationPort] = (await freePorts(2)) as [number, number];
  const inventory = await startProxy({ upstream: `127.0.0.1:${inventoryPort}` });
  const notification = await startProxy({ upstream: `127.0.0.1:${notificationPort}` });
  const trial = await trialOf(run, "storm", {
    ports: { "inventory-service": inventoryPort, "notification-service": notificationPort },
    env: {
      INVENTORY_URL: `http://${inventory.listen}`,
      NOTIFICATION_URL: `http://${notification.listen}`,
    },
  });
  return {
    trial,
    links: { "order - inventory": inventory, "order - notification": notification },
    async [Symbol.asyncDispose]() {
      await trial[Symbol.asyncDispose]();
      await inventory[Symbol.asyncDispose]();
      await notification[Symbol.asyncDispose]();
    },
  };
});
