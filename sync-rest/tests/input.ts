/** What the services of the synchronous model must refuse, and their routes that take JSON. */
import { Release, Reserve, Send } from "@lab/contracts/order";
import {
  BAD_LOOK_UPS,
  BAD_NOTIFICATION_PAGES,
  BAD_ORDERS,
  BAD_RESERVATIONS,
  BAD_SENDS,
  type InputTable,
  ORDER_ROUTE,
} from "@lab/lab/experiment/bad-requests";

export const INPUT: InputTable = {
  bad: {
    order: BAD_ORDERS,
    inventory: [...BAD_LOOK_UPS, ...BAD_RESERVATIONS],
    downstream: [...BAD_NOTIFICATION_PAGES, ...BAD_SENDS],
  },
  routes: [
    ORDER_ROUTE,
    { service: "inventory", path: "/reserve", body: Reserve },
    { service: "inventory", path: "/release", body: Release },
    { service: "downstream", path: "/send", body: Send },
  ],
};
