/** The disk under the databases fails: full, locked, torn, read-only. */
import { testStorageFaults } from "@lab/proof/faults/storage-faults";

testStorageFaults("streaming-kafka");
