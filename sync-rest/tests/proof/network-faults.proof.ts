/** A bad network between the order service and its two neighbours. */
import { experiment } from "@lab/lab/experiment/experiment";
import { freePorts } from "@lab/lab/host/ports";
import {
  type EachWay,
  eachWay,
  runFaults,
  type NetworkFault,
  networkFaults,
} from "@lab/proof/faults/network-faults";
import { type FaultProxy, startProxy } from "@lab/lab/proxy/proxy";
import { trialOf } from "@lab/lab/experiment/trial";

const TIMEOUT_MS = 1_000;
const LASTS_S = 1.2;
const UNKNOWN = "failed 504 inventory_timeout";
const REFUSED = "failed 503 inventory_unreachable";

experiment(
  networkFaults(
    "sync-rest",
    "A TCP proxy stands between Order and Inventory, another between Order and Notification, and each network fault of toxiproxy goes through them.",
    "With Inventory out of reach an answer other than 503 or 504, with Notification out of reach one other than 201.",
  ),
  async (run) => {
    const [inventoryPort, notificationPort] = (await freePorts(2)) as [number, number];
    await using inventory = await startProxy({ upstream: `127.0.0.1:${inventoryPort}` });
    await using notification = await startProxy({ upstream: `127.0.0.1:${notificationPort}` });
    await using trial = await trialOf(run, "network", {
      ports: { "inventory-service": inventoryPort, "notification-service": notificationPort },
      env: {
        INVENTORY_URL: `http://${inventory.listen}`,
        INVENTORY_TIMEOUT_MS: String(TIMEOUT_MS),
        NOTIFICATION_URL: `http://${notification.listen}`,
        NOTIFICATION_TIMEOUT_MS: String(TIMEOUT_MS),
      },
    });
    await runFaults(run, trial, [
      ...faultsOf(inventory, "inventory", { answers: [UNKNOWN] }),
      {
        name: "order - inventory: down",
        proxy: inventory,
        toxics: "down",
        lastsS: LASTS_S,
        // What was under way when it was cut is unknown.
        answers: [REFUSED, UNKNOWN],
      },
      {
        name: "order - inventory: half-open",
        proxy: inventory,
        toxics: "half-open",
        lastsS: LASTS_S,
        // One for each connection that was kept alive.
        answers: [UNKNOWN],
      },
      // The order stands and waits for its confirmation: nobody is told of anything bad.
      ...faultsOf(notification, "notification", { delaysMs: LASTS_S * 500 }),
      {
        name: "order - notification: down",
        proxy: notification,
        toxics: "down",
        lastsS: LASTS_S,
        delaysMs: LASTS_S * 500,
      },
    ]);
  },
);

/** What goes each way; `broken` is what comes of those after which no answer arrives. */
function faultsOf(
  proxy: FaultProxy,
  neighbour: string,
  broken: Pick<NetworkFault, "answers" | "delaysMs">,
): NetworkFault[] {
  const toxics: EachWay[] = [
    [
      "latency, 160 ± 20 ms",
      { type: "latency", attributes: { latency: 160, jitter: 20 } },
      { delaysMs: 120 },
    ],
    ["bandwidth, 2 KB/s", { type: "bandwidth", attributes: { rate: 2 } }, { delaysMs: 50 }],
    // Upstream the request is lost, downstream the answer.
    ["silence (timeout)", { type: "timeout" }, broken],
    ["cut again and again (reset_peer)", { type: "reset_peer" }, broken],
    [
      "cut in the middle (limit_data, 20 bytes)",
      { type: "limit_data", attributes: { bytes: 20 } },
      broken,
    ],
  ];
  return eachWay(
    proxy,
    LASTS_S,
    toxics.map(([words, ...rest]) => [`order - ${neighbour}: ${words}`, ...rest]),
  );
}
