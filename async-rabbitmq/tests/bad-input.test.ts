/** Bad input of every kind, sent to every route; see `testBadInput` for the method. */
import { testBadInput } from "@lab/lab/bad-input";
import { BAD_LOOK_UPS, BAD_NOTIFICATION_PAGES, BAD_ORDERS } from "@lab/lab/bad-requests";

testBadInput({
  model: "async-rabbitmq",
  success: 202,
  requests: [BAD_ORDERS, BAD_LOOK_UPS, BAD_NOTIFICATION_PAGES],
  routes: [["order", "/order"]],
});
