import type { ModelFacts } from "@lab/lab/brokers/model-facts";
import { brokerThatIsUp } from "@lab/lab/brokers/state";
import { DeadLetters } from "@lab/lab/probes/dead-letters";
import { eventsOf, readTopic } from "@lab/lab/probes/kafka-tools";

let last: Promise<unknown> = Promise.resolve();

/**
 * One after the other: who looks at the letters of a queue takes them out of it for a moment, in
 * which another would see none.
 */
export function oneByOne<T>(look: () => Promise<T>): Promise<T> {
  const next = last.then(look);
  last = next.catch(() => {});
  return next;
}

const known = new Map<string, { letters: number; orders: string[] }>();

/** The orders with a dead letter: their messages are looked at only where their number has changed. */
export async function deadOrders(
  { broker }: ModelFacts,
  namespace: string,
  letters: number,
): Promise<string[]> {
  if (broker === undefined || letters === 0) return [];
  const before = known.get(broker.name);
  if (before?.letters === letters) return before.orders;
  const { address } = await brokerThatIsUp(broker.name);
  let orders: string[] = [];
  if (broker.name === "kafka") {
    const records = await readTopic(address, `${namespace}${broker.deadTopic}`);
    orders = eventsOf(records).events.map(({ data }) => data.order_id);
  } else {
    orders = await oneByOne(async () => {
      await using queue = await DeadLetters.open(address, namespace, broker);
      const lists = [];
      for (const name of Object.keys(broker.queues)) lists.push(...(await queue.list(name)));
      return lists.flatMap(({ body }) => subjectOf(body));
    });
  }
  known.set(broker.name, { letters, orders });
  return orders;
}

function subjectOf(body: Buffer): string[] {
  try {
    const { subject } = JSON.parse(body.toString()) as { subject?: unknown };
    return typeof subject === "string" ? [subject] : [];
  } catch {
    return [];
  }
}
