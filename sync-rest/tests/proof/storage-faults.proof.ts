/** The disk under the databases fails: full, locked, torn, read-only. */
import { testStorageFaults } from "@lab/proof/faults/storage-faults";

testStorageFaults("sync-rest", {
  // 202: stored, but its end couldn't be; it is taken up again.
  up: ["ok 202", "failed 502 inventory_error", "failed 504 inventory_timeout"],
  down: ["failed 503 inventory_unreachable"],
});
