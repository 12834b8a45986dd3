/** What the services of the streaming model must refuse, and their routes that take JSON. */
import { BulkRequest } from "@lab/contracts/bulk";
import {
  BAD_BULKS,
  BAD_LOOK_UPS,
  BAD_ORDERS,
  BAD_REPLAYS,
  type InputTable,
  ORDER_ROUTE,
} from "@lab/lab/experiment/bad-requests";

export const INPUT: InputTable = {
  bad: {
    order: [...BAD_ORDERS, ...BAD_BULKS],
    inventory: BAD_LOOK_UPS,
    downstream: BAD_REPLAYS,
  },
  routes: [ORDER_ROUTE, { service: "order", path: "/orders/bulk", body: BulkRequest }],
};
