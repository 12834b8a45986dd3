import { Kafka, logLevel } from "kafkajs";
import type { Broker } from "../brokers/broker.ts";

/**
 * Removes what a run declared on a broker that outlives it: RabbitMQ's queues and exchanges,
 * Kafka's topics and groups whose names begin with the run's namespace. Throws when the broker
 * doesn't answer.
 */
export async function removeLeftovers(broker: Broker, namespace: string): Promise<void> {
  if (namespace === "") throw new Error("an empty namespace is everybody's");
  if (broker.name === "kafka") await removeFromKafka(broker, namespace);
  else await removeFromRabbitmq(broker, namespace);
}

async function removeFromRabbitmq(
  { address, managementUrl }: Broker,
  namespace: string,
): Promise<void> {
  if (managementUrl === undefined) {
    throw new Error("queues can only be listed by RabbitMQ's management API");
  }
  const { username, password, pathname } = new URL(address);
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  const headers = { authorization: `Basic ${btoa(login)}` };
  const vhost = pathname.length > 1 ? pathname.slice(1) : "%2F";
  const call = async (path: string, method = "GET") => {
    const url = `${managementUrl}/api/${path}`;
    const answer = await fetch(url, { method, headers });
    // 404: already deleted, such as an auto-delete queue.
    if (!answer.ok && answer.status !== 404) {
      throw new Error(`${method} ${path}: ${answer.status}`);
    }
    return answer;
  };
  for (const kind of ["queues", "exchanges"]) {
    const list = await call(`${kind}/${vhost}?columns=name`);
    const names = ((await list.json()) as { name: string }[])
      .map(({ name }) => name)
      .filter((name) => name.startsWith(namespace));
    for (const name of names) {
      await call(`${kind}/${vhost}/${encodeURIComponent(name)}`, "DELETE");
    }
  }
}

async function removeFromKafka({ address }: Broker, namespace: string): Promise<void> {
  const admin = new Kafka({
    clientId: "lab-leftovers",
    brokers: address.split(","),
    logLevel: logLevel.NOTHING,
  }).admin();
  await admin.connect();
  try {
    const topics = (await admin.listTopics()).filter((topic) => topic.startsWith(namespace));
    if (topics.length > 0) await admin.deleteTopics({ topics });
    const { groups } = await admin.listGroups();
    for (const { groupId } of groups) {
      if (!groupId.startsWith(namespace)) continue;
      // A killed member stays in its group until its session times out; Kafka then deletes the
      // empty group by itself.
      await admin.deleteGroups([groupId]).catch(() => {});
    }
  } finally {
    await admin.disconnect();
  }
}
