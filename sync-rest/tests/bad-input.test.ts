/** Bad input of every kind, sent to every route; see `testBadInput` for the method. */
import { testBadInput } from "@lab/lab/bad-input";
import {
  BAD_LOOK_UPS,
  BAD_NOTIFICATION_PAGES,
  BAD_ORDERS,
  BAD_RESERVATIONS,
  BAD_SENDS,
} from "@lab/lab/bad-requests";

testBadInput({
  model: "sync-rest",
  success: 201,
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
