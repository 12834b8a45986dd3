/** Every service of the synchronous model killed in each of its gaps, under load. */
import {
  type CrashSituation,
  STARTING,
  stopping,
  testCrashPoints,
} from "@lab/proof/kills/crash-points";
import { setFaults } from "@lab/lab/services/set-faults";

const FAIL_RATE = 0.1;

/**
 * Only an order that an earlier process has left half-way is asked for again. Several are: of a
 * single one the answer may be no, and then nobody is told.
 */
const LEFT_HALF_WAY: CrashSituation = {
  title: "after a crash at stored-before-reserve, with orders that wait for Inventory",
  async before({ campus: { inventory } }, service) {
    await setFaults(inventory, { hang: true });
    await service.restart({ LAB_CRASH_AT: "stored-before-reserve:10" });
    await service.exited;
    await setFaults(inventory, { fail_rate: FAIL_RATE });
  },
};

testCrashPoints({
  model: "sync-rest",
  ratePerS: 100,
  lanes: 3,
  // Some reserves end unknown and are released, some confirmations are sent later.
  env: { INVENTORY_FAIL_RATE: `${FAIL_RATE}`, NOTIFICATION_FAIL_RATE: `${FAIL_RATE}` },
  points: [
    ["order-service", "placed-before-commit", 20],
    ["order-service", "stored-before-reserve", 20],
    ["order-service", "refused-before-commit", 3],
    ["order-service", "failed-before-answer", 3],
    ["order-service", "released-before-commit", 2],
    ["order-service", "reserved-before-send", 20],
    ["order-service", "told-before-commit", 20],
    ["order-service", "stored-before-answer", 20],
    ["order-service", "asked-again-before-commit", 1, LEFT_HALF_WAY],
    ["order-service", "told-again-before-commit", 1, LEFT_HALF_WAY],
    ["order-service", "told-later-before-commit", 2],
    stopping("order-service", "intake-ended"),
    stopping("order-service", "repairs-ended"),
    ["inventory-service", "opened-before-listening", 1, STARTING],
    ["inventory-service", "decided-before-commit", 20],
    ["inventory-service", "decided-before-answer", 20],
    ["inventory-service", "released-before-commit", 2],
    ["inventory-service", "released-before-answer", 2],
    stopping("inventory-service", "intake-ended"),
    ["notification-service", "told-before-commit", 20],
    ["notification-service", "told-before-answer", 20],
    stopping("notification-service", "intake-ended"),
  ],
});
