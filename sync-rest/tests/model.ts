/** What the lab has to know about the synchronous model. */
import type { ModelFacts } from "@lab/lab/brokers/model-facts";

export const MODEL: ModelFacts = {
  services: ["order-service", "inventory-service", "notification-service"],
  downstream: "notification",
  takesBulks: false,
  calls: { INVENTORY_URL: "inventory-service", NOTIFICATION_URL: "notification-service" },
  links: ["order - inventory", "order - notification"],
  success: "confirmed",
  givenUp: ["inventory_error", "inventory_timeout", "inventory_unreachable"],
  // A service retries a call until it has an answer.
  maxAttempts: Infinity,
};
