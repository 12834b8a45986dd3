/** One order is one trace through queues and services; see `testTraces` for the method. */
import { testTraces } from "@lab/lab/experiment/traces";
import { DeadLetters } from "@lab/lab/probes/dead-letters";
import { Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";
import { deadQueue, topology } from "../topology.ts";
import { BROKER } from "./model.ts";

testTraces("async-rabbitmq", {
  tree: [
    "server POST /order, order-service",
    "  producer send orders:order.placed, order-service",
    "    consumer process inventory.order-placed, inventory-service",
    "      client settle inventory.order-placed, inventory-service",
    "      producer send orders:inventory.reserved, inventory-service",
    "        consumer process notification.inventory-reserved, notification-service",
    "          client settle notification.inventory-reserved, notification-service",
    "          producer send orders:notification.sent, notification-service",
    "            consumer process order.inventory-events, order-service",
    "              client settle order.inventory-events, order-service",
    "        consumer process order.inventory-events, order-service",
    "          client settle order.inventory-events, order-service",
  ],
  async repeat({ broker, namespace }, event) {
    await using rabbit = new Rabbitmq(broker);
    await rabbit.put(topology(namespace).inventoryQueue, event);
  },
  async replay({ broker, namespace }, event, traceparent) {
    await using rabbit = new Rabbitmq(broker);
    const dead = deadQueue(topology(namespace).inventoryQueue);
    await rabbit.put(dead, event, { headers: { traceparent } });
    await using letters = await DeadLetters.open(broker.address, namespace, BROKER);
    await letters.replay("inventory.order-placed", 1);
  },
});
