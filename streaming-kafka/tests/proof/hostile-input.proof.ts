/** Bad input of every kind beside honest orders. */
import { countRecords, produceRaw, withAdmin } from "@lab/lab/probes/kafka-tools";
import { testHostileInput } from "@lab/proof/input/hostile-input";
import { topics } from "../../topics.ts";
import { INPUT } from "../input.ts";

testHostileInput({
  model: "streaming-kafka",
  input: INPUT,
  hidden: [["downstream", "POST", "/replay"]],
  sources({ namespace }) {
    const { inventoryEvents, orderEvents } = topics(namespace);
    return [
      { name: orderEvents, types: ["OrderPlaced"] },
      // Analytics reads every type from both.
      { name: inventoryEvents, types: ["OrderPlaced", "InventoryReserved", "InventoryFailed"] },
    ];
  },
  badMessage:
    "A bad record of order-events that isn't in the dead topic; one of inventory-events, which has none, that a reader's log doesn't mention.",
  async put({ broker }, topic, messages) {
    const records = messages.map((value, n) => ({ key: `k${n}`, value }));
    const lanes = Array.from({ length: 8 }, (_, lane) =>
      records.filter((_record, n) => n % 8 === lane),
    );
    await Promise.all(lanes.map((own) => produceRaw(broker.address, topic, own)));
  },
  // Bad records of `inventory-events` are logged and skipped, not dead-lettered: see `passedOver`.
  async dead({ broker, namespace }, sent) {
    const { deadLetters, orderEvents } = topics(namespace);
    const are = await withAdmin(broker.address, (admin) => countRecords(admin, deadLetters));
    return [sent.get(orderEvents)?.length ?? 0, are];
  },
  async passedOver({ campus, namespace }, sent) {
    const log = await Bun.file(campus.order.logFile).text();
    const must = sent.get(topics(namespace).inventoryEvents)?.length ?? 0;
    return [must, log.split('"message_refused"').length - 1];
  },
});
