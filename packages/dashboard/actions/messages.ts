// Messages that no service would send: one that can never be valid, and one that comes twice.
import type { Model } from "@lab/evidence/evidence";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { brokerThatIsUp } from "@lab/lab/brokers/state";
import { read } from "@lab/lab/probes/databases";
import { produceRaw } from "@lab/lab/probes/kafka-tools";
import { Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";

const POISON = "not an order";

interface Stored {
  key: string;
  body: string;
}

/** Puts what is no order where Inventory hears it; returns what became of it, where that is known. */
export async function poison(model: Model, namespace: string, url: string): Promise<string> {
  if (factsOf(model).broker !== undefined) {
    await put(model, namespace, { key: "main", body: POISON });
    return "sent: Inventory can't read it, so it becomes a dead letter";
  }
  const answer = await fetch(`${url}/order`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: POISON,
  });
  return `answered ${answer.status}: refused at once, nothing is kept`;
}

/** Sends the newest OrderPlaced again; returns its order's id. Throws where there is none. */
export async function sendAgain(
  model: Model,
  namespace: string,
  database: string,
): Promise<string> {
  const [last] = read<Stored>(
    { database },
    "SELECT key, body FROM outbox ORDER BY seq DESC LIMIT 1",
  );
  // Without the outbox the stored event is nowhere: the ledger's test needs it.
  if (last === undefined) throw new Error("no order was placed yet");
  await put(model, namespace, last);
  return (JSON.parse(last.body) as { subject: string }).subject;
}

async function put(model: Model, namespace: string, { body, key }: Stored): Promise<void> {
  const { broker } = factsOf(model);
  if (broker === undefined) throw new Error(`${model} has no broker`);
  const known = await brokerThatIsUp(broker.name);
  if (broker.name === "kafka") {
    await produceRaw(known.address, `${namespace}${broker.topics[0]}`, [{ key, value: body }]);
    return;
  }
  await using rabbit = new Rabbitmq(known);
  await rabbit.put(`${namespace}${Object.keys(broker.queues)[0]}`, body);
}
