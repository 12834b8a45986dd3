/** Bad input of every kind, sent to every route; see `testBadInput` for the method. */
import { testBadInput } from "@lab/lab/bad-input";
import { BAD_BULKS, BAD_LOOK_UPS, BAD_ORDERS, BAD_REPLAYS } from "@lab/lab/bad-requests";

testBadInput({
  model: "streaming-kafka",
  success: 202,
  requests: [[...BAD_ORDERS, ...BAD_BULKS], BAD_LOOK_UPS, BAD_REPLAYS],
  routes: [
    ["order", "/order"],
    ["order", "/orders/bulk"],
  ],
});
