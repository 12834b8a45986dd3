/** What the services of the asynchronous model must refuse, and their routes that take JSON. */
import {
  BAD_LOOK_UPS,
  BAD_NOTIFICATION_PAGES,
  BAD_ORDERS,
  type InputTable,
  ORDER_ROUTE,
} from "@lab/lab/experiment/bad-requests";

export const INPUT: InputTable = {
  bad: { order: BAD_ORDERS, inventory: BAD_LOOK_UPS, downstream: BAD_NOTIFICATION_PAGES },
  routes: [ORDER_ROUTE],
};
