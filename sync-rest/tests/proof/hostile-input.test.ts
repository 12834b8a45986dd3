/** Bad input of every kind beside honest orders. */
import {
  BAD_LOOK_UPS,
  BAD_NOTIFICATION_PAGES,
  BAD_ORDERS,
  BAD_RESERVATIONS,
  BAD_SENDS,
} from "@lab/lab/bad-requests";
import { testHostileInput } from "@lab/lab/proof/hostile-input";

testHostileInput({
  model: "sync-rest",
  requests: [
    BAD_ORDERS,
    [...BAD_LOOK_UPS, ...BAD_RESERVATIONS],
    [...BAD_NOTIFICATION_PAGES, ...BAD_SENDS],
  ],
  routes: [
    ["order", "/order"],
    ["inventory", "/reserve"],
    ["inventory", "/release"],
    ["third", "/send"],
  ],
});
