import type { ModelFacts } from "@lab/lab/brokers/model-facts";
import { inTurn } from "@lab/lab/host/in-turn";
import { brokerThatIsUp } from "@lab/lab/brokers/state";
import { DeadLetters } from "@lab/lab/probes/dead-letters";
import { eventsOf, readTopic } from "@lab/lab/probes/kafka-tools";

const inTurnWithOthers = inTurn();

/**
 * Opens RabbitMQ's dead letters for that use, one use after the other: who looks at the letters of a
 * queue takes them out of it for a moment, in which another would see none.
 */
export function withDeadLetters<T>(
  [address, namespace, facts]: Parameters<typeof DeadLetters.open>,
  use: (letters: DeadLetters) => Promise<T>,
): Promise<T> {
  return inTurnWithOthers(async () => {
    await using letters = await DeadLetters.open(address, namespace, facts);
    return await use(letters);
  });
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
    orders = await withDeadLetters([address, namespace, broker], async (letters) => {
      const lists = [];
      for (const queue of Object.keys(broker.queues)) lists.push(...(await letters.list(queue)));
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
