/** Topics that somebody deletes or makes otherwise, and a stranger in a group, while all runs. */
import { count, OUTBOX_DEPTH } from "@lab/lab/probes/databases";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { fetchHealth } from "@lab/lab/services/health";
import { kafkaClient, produceRaw, readTopic, withAdmin } from "@lab/lab/probes/kafka-tools";
import { noteRepeated, timed } from "@lab/proof/common";
import { beginReplay, fetchReplay } from "@lab/lab/probes/replay";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { eventually } from "@lab/lab/host/waiting";
import { PARTITIONS, topics } from "../../topics.ts";

const LIMIT_MS = 15_000;
/** More in each partition than there were before. */
const MANY = 300;

experiment(
  {
    name: "topology",
    model: "streaming-kafka",
    question:
      "Somebody deletes a topic, or gives it other settings, or joins a group that isn't theirs: does all come back by itself, and is what doesn't named?",
    method: `Each topic is deleted while the services run, with a bad record and orders behind it; two are made anew with more in them than they had, while who reads them is paused. One is given a partition more. A stranger is in Analytics' group when it replays.`,
    disproof: `An order or a dead letter that doesn't come to its end. A topic that isn't there again, or isn't named, within ${LIMIT_MS / 1_000} s. Health 200 over what can't move.`,
    requirements: [],
    parameters: { limit_s: LIMIT_MS / 1_000 },
  },
  async (run) => {
    await using trial = await trialOf(run, "topology");
    const { broker, campus, namespace } = trial;
    const { analyticsGroup, deadLetters, inventoryEvents, orderEvents } = topics(namespace);
    const isBack = (topic: string) =>
      withAdmin(broker.address, async (admin) => (await admin.listTopics()).includes(topic));

    for (const topic of [deadLetters, inventoryEvents, orderEvents]) {
      const name = topic.slice(namespace.length);
      run.progress(`${name} is deleted`);
      await withAdmin(broker.address, (admin) => admin.deleteTopics({ topics: [topic] }));
      const { tookMs } = await timed(() => eventually("it is there again", () => isBack(topic)));
      await produceRaw(broker.address, orderEvents, [{ partition: 0, value: "{}" }]);
      await allEnd(trial, 25);
      await eventually("the bad record is dead", async () => {
        const letters = await readTopic(broker.address, deadLetters);
        return letters.at(-1)?.headers["topic"] === orderEvents;
      });
      run.figure(`${name}_back_ms`, tookMs);
      run.holds(`${name} is there again in time`, tookMs < LIMIT_MS, true);
    }

    const makeAnew = (topic: string) =>
      withAdmin(broker.address, async (admin) => {
        await admin.deleteTopics({ topics: [topic] });
        // A broker that is busy doesn't host the new one at once, and kafkajs gives up on that.
        await eventually(`${topic} is made anew`, async () => {
          await admin.createTopics({ topics: [{ topic, numPartitions: PARTITIONS }] });
          return true;
        });
      });
    run.progress("order-events is made anew, and outgrows the old one before Inventory looks");
    await campus.inventory.pause();
    await makeAnew(orderEvents);
    await placeMany(trial, MANY);
    await campus.inventory.resume();
    await allEnd(trial, 25);
    run.progress("the same with inventory-events, before Order looks");
    const decided = () => count(campus.inventory, "SELECT count(*) FROM reservations");
    const must = decided() + MANY;
    await campus.inventory.pause();
    await placeMany(trial, MANY);
    await eventually("all is published", () => count(campus.order, OUTBOX_DEPTH) === 0);
    await campus.order.pause();
    await makeAnew(inventoryEvents);
    await campus.inventory.resume();
    await eventually("Inventory has answered", () => decided() >= must);
    await campus.order.resume();
    await allEnd(trial, 25);

    run.progress("a topic gets a partition more");
    await withAdmin(broker.address, (admin) => {
      const topicPartitions = [{ topic: inventoryEvents, count: PARTITIONS + 1 }];
      return admin.createPartitions({ topicPartitions });
    });
    const words = `${inventoryEvents}: has 7 partitions and needs 6; once deleted it is made anew, without its records`;
    await named(run, trial, "a topic of another size", words);
    const refused = await campus.order.healthy().catch(({ message }: Error) => message);
    run.holds(
      "whoever waits for health is told",
      refused,
      `order-producer can't do its work:\n  ${words}`,
    );
    await withAdmin(broker.address, (admin) => admin.deleteTopics({ topics: [inventoryEvents] }));
    await eventually("it is there again as it should be", async () => {
      const healths = await Promise.all(campus.services.map(({ url }) => fetchHealth(url)));
      return healths.every(({ status }) => status === "up");
    });
    await allEnd(trial, 25);

    run.progress("a stranger in Analytics' group");
    const stranger = kafkaClient(broker.address).consumer({ groupId: analyticsGroup });
    await stranger.connect();
    await stranger.subscribe({ topics: [inventoryEvents, orderEvents] });
    await stranger.run({ autoCommit: false, eachBatch: async () => {} });
    // What the deleted topics have taken along can't be computed again.
    await beginReplay(campus.downstream.url, true);
    const others = `connection: group ${analyticsGroup} has 1 members beside this one: stop them`;
    await named(run, trial, "the stranger", others, ["downstream"]);
    await stranger.disconnect();
    await eventually("the replay sets its offsets back", async () => {
      const { reset_to: resetTo } = await fetchReplay(campus.downstream.url);
      return resetTo !== null;
    });
    noteRepeated(run);
  },
);

async function placeMany(trial: Trial, orders: number): Promise<void> {
  await Promise.all(Array.from({ length: orders }, () => trial.send()));
}

/** Places that many orders, and waits until each that there is has ended. */
async function allEnd(trial: Trial, orders: number): Promise<void> {
  await placeMany(trial, orders);
  await eventually("every order has ended", () => {
    const open = count(trial.campus.order, "SELECT count(*) FROM orders WHERE status = 'placed'");
    if (open > 0) throw new Error(`${open} haven't`);
    return true;
  });
}

/** Holds that those services say so in time, and aren't healthy. */
async function named(
  run: Run,
  { campus }: Trial,
  what: string,
  problem: string,
  by: readonly ("order" | "inventory" | "downstream")[] = ["order", "inventory", "downstream"],
): Promise<void> {
  const { tookMs, value } = await timed(() =>
    eventually(`${what} is named`, async () => {
      const healths = await Promise.all(by.map((name) => fetchHealth(campus[name].url)));
      const said = healths.map(({ problems, status }) => ({ problems, status }));
      return said.every(({ problems }) => problems.length > 0) && said;
    }),
  );
  run.holds(
    `${what} is named`,
    value,
    by.map(() => ({ problems: [problem], status: "down" })),
  );
  run.holds(`${what} is named in time`, tookMs < LIMIT_MS, true);
}
