/** What the streaming model promises, and whether it keeps it. */
import { eventsOf, produceRaw, readTopic, withAdmin } from "@lab/lab/probes/kafka-tools";
import { describeGroup, totalLag } from "@lab/lab/probes/lag";
import { sameIdAgain, testPromises } from "@lab/proof/kills/promises";
import { beginReplay, fetchReplay } from "@lab/lab/probes/replay";
import { eventually } from "@lab/lab/host/waiting";
import { topics } from "../../topics.ts";

testPromises({
  model: "streaming-kafka",
  async actions(trial) {
    const { campus, namespace } = trial;
    const { address } = trial.broker;
    const { deadLetters, inventoryEvents, inventoryGroup, orderEvents } = topics(namespace);
    return {
      async repeat(orderId) {
        let repeats = 0;
        for (const topic of [orderEvents, inventoryEvents]) {
          const records = await readTopic(address, topic);
          const own = records.filter(({ value }) => value?.includes(orderId));
          await produceRaw(
            address,
            topic,
            own.map(({ partition, value }) => ({ partition, value })),
          );
          repeats += own.length;
        }
        return repeats;
      },
      async ordersWaitIn(count) {
        await eventually("all orders are in the log, unread", () =>
          withAdmin(
            address,
            async (admin) => totalLag(await describeGroup(admin, inventoryGroup)) === count,
          ),
        );
        return "the log";
      },
      async sendInvalid() {
        await produceRaw(address, orderEvents, [{ partition: 0, value: "{}" }]);
        await eventually(
          "it is dead",
          async () => (await readTopic(address, deadLetters)).length === 1,
        );
        return "dead topic";
      },
      async reuseId(order) {
        const value = sameIdAgain(trial, order);
        const { kitchen } = order;
        await produceRaw(address, orderEvents, [{ key: kitchen, value }]);
        await eventually("it is dead, with its reason", async () =>
          (await readTopic(address, deadLetters)).some(
            (one) => one.headers["reason"] === "id_reused" && String(one.value) === value,
          ),
        );
        return "dead topic";
      },
      async workedOn(kitchen) {
        const { events } = eventsOf(await readTopic(address, inventoryEvents));
        return events.filter(({ data }) => data.kitchen === kitchen).map(({ subject }) => subject);
      },
      async lookBack() {
        await beginReplay(campus.downstream.url);
        const { equal } = await eventually("the replay ends", async () => {
          const replay = await fetchReplay(campus.downstream.url);
          return replay.finished_at !== null && replay;
        });
        return equal === true;
      },
      async [Symbol.asyncDispose]() {},
    };
  },
});
