// Dead letters: looked at on a click alone, since looking takes them out of the queue for a moment.
import { decodeEvent } from "@lab/contracts/events";
import { type DeadLetter, textOf, wouldDieAgain } from "@lab/lab/probes/dead-letters";
import { brokerThatIsUp } from "@lab/lab/brokers/state";
import { produceRaw, readTopic } from "@lab/lab/probes/kafka-tools";
import type { Letter } from "../contract/answers.ts";
import type { ModelFacts } from "@lab/lab/brokers/model-facts";
import { withDeadLetters } from "../probes/dead.ts";

/** The model whose letters they are. */
interface Owner {
  facts: ModelFacts;
  model: string;
  namespace(): Promise<string>;
}

/** The page shows so many of a queue. */
const MOST = 50;

/** All dead letters of a model, as its broker has them now. Throws when it doesn't answer. */
export async function listLetters(one: Owner): Promise<Letter[]> {
  const { broker } = one.facts;
  if (broker === undefined) return [];
  const { address } = await brokerThatIsUp(broker.name);
  const namespace = await one.namespace();
  if (broker.name === "kafka") {
    const records = await readTopic(address, `${namespace}${broker.deadTopic}`);
    return records.slice(-MOST).map(({ headers, offset, partition, timestampMs, value }) => ({
      queue: broker.deadTopic,
      which: `${partition}/${offset}`,
      reason: headers["reason"] ?? "unknown",
      detail: headers["detail"] ?? "",
      died_at: new Date(timestampMs).toISOString(),
      attempts: null,
      ...shown(value ?? Buffer.alloc(0)),
    }));
  }
  const found = await withDeadLetters([address, namespace, broker], async (letters) => {
    const all: DeadLetter[] = [];
    for (const queue of Object.keys(broker.queues))
      all.push(...(await letters.list(queue)).slice(0, MOST));
    return all;
  });
  return found.map(({ attempts, body, detail, died_at, position, queue, reason }) => ({
    queue,
    which: String(position),
    reason,
    detail,
    died_at,
    attempts,
    ...shown(body),
  }));
}

/** Puts one letter, or all of a queue, back where it came from. Throws where it would die again. */
export async function replayLetter(
  one: Owner,
  { body, queue, which }: { queue: string; which: string; body?: string },
): Promise<string> {
  const { broker } = one.facts;
  if (broker === undefined) throw new Error(`${one.model} has no dead letters`);
  const { address } = await brokerThatIsUp(broker.name);
  const namespace = await one.namespace();
  const bytes = body === undefined ? undefined : Buffer.from(body);
  if (broker.name === "kafka") {
    const all = await readTopic(address, `${namespace}${broker.deadTopic}`);
    const chosen = all.filter(
      (each) => which === "all" || which === `${each.partition}/${each.offset}`,
    );
    const records = chosen.flatMap(({ key, value }) => {
      const repaired = bytes ?? value ?? Buffer.alloc(0);
      const decoded = decodeEvent(repaired, broker.letterTypes);
      if (decoded.kind === "event") return { ...(key !== null && { key }), value: repaired };
      if (which === "all") return [];
      throw wouldDieAgain(decoded, bytes);
    });
    await produceRaw(address, `${namespace}${broker.topics[0]}`, records);
    return `${records.length} of ${chosen.length} sent again; a log forgets nothing, so the dead topic keeps its copy`;
  }
  return withDeadLetters([address, namespace, broker], async (letters) => {
    const replayed = await letters.replay(queue, which === "all" ? "all" : Number(which), bytes);
    const left = (await letters.list(queue)).length;
    return `RabbitMQ took ${replayed.length} back into ${queue}; ${left} dead letters are left there`;
  });
}

function shown(body: Buffer): { body: string; editable: boolean } {
  const text = textOf(body);
  return text === undefined
    ? { body: body.toString("hex"), editable: false }
    : { body: text, editable: true };
}
