/** One Inventory, three, and one again, on one database. */
import { withAdmin } from "@lab/lab/probes/kafka-tools";
import { describeGroup } from "@lab/lab/probes/lag";
import { repeatsIn } from "@lab/lab/services/logs";
import { testRebalances } from "@lab/proof/faults/rebalances";
import { PARTITIONS, topics } from "../../topics.ts";

testRebalances({
  model: "streaming-kafka",
  async consumers({ broker, namespace }) {
    const { inventoryGroup } = topics(namespace);
    const rows = await withAdmin(broker.address, (admin) => describeGroup(admin, inventoryGroup));
    const readers = rows.flatMap(({ consumer_id: id }) => id ?? []);
    // While a group rebalances nobody reads.
    return readers.length === PARTITIONS ? new Set(readers).size : 0;
  },
  // It publishes again, under the same ids, what others have published; its ledger logs those as repeated.
  lateWork: async (_, { logFile }) => repeatsIn(logFile),
});
