/** One order is one trace through the three services; see `testTraces` for the method. */
import { testTraces } from "@lab/lab/experiment/traces";

testTraces("sync-rest", {
  tree: [
    "server POST /order, order-service",
    "  client POST /reserve, order-service",
    "    server POST /reserve, inventory-service",
    "  client POST /send, order-service",
    "    server POST /send, notification-service",
  ],
});
