import { afterAll, beforeAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { Model } from "@lab/evidence/evidence";
import { labFolder } from "@lab/evidence/folders";
import { KITCHENS } from "@lab/workflow/menu";
import type { Broker } from "../brokers/broker.ts";
import { factsOf } from "../brokers/model-facts.ts";
import { sharedBroker } from "../brokers/shared-brokers.ts";
import { eventually } from "../host/waiting.ts";
import { read } from "../probes/databases.ts";
import { removeLeftovers } from "../probes/leftovers.ts";
import { loggedSpans, receiveSpans, type SeenSpan, spanTree } from "../probes/spans.ts";
import { type Campus, startModel } from "../services/processes.ts";
import { setFaults } from "../services/set-faults.ts";

const BROKER_TIMEOUT_MS = 600_000;
const TIMEOUT_MS = 90_000;
const CALLER = "00f067aa0ba902b7";

/** What only the model itself can do. */
interface Plan {
  /** The spans of one good order, as `spanTree` shows them, without the namespace. */
  tree: readonly string[];
  /** Has Inventory hear of the event once more. */
  repeat?(place: Place, event: string): Promise<void>;
  /** Has a consumer process an event again that is already done, and on purpose. */
  replay?(place: Place, event: string, traceparent: string): Promise<void>;
}

interface Place {
  broker: Broker;
  campus: Campus;
  namespace: string;
}

/**
 * Registers the tests of one model's traces. Question: is an order one trace, through every hop?
 * Method: orders over the real services, their logs, and a receiver of OTLP that decodes what is
 * exported. Disproof: a span too few, too many, or under another parent; a difference between the
 * logs and the export; a span of an order that isn't sampled.
 */
export function testTraces(model: Model, { repeat, replay, tree }: Plan): void {
  const needed = factsOf(model).broker?.name;
  const id = crypto.randomUUID().slice(0, 6);
  const folder = join(labFolder, "data", `${model}-traces-${id}`);
  const namespace = `t${id}-`;
  const receiver = receiveSpans();
  let campus: Campus;
  let place: Place;

  beforeAll(async () => {
    const broker = needed && (await sharedBroker(needed));
    const env = { OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url };
    campus = await startModel(model, { folder, namespace, broker, env });
    place = { broker: broker as Broker, campus, namespace };
  }, BROKER_TIMEOUT_MS);

  afterAll(async () => {
    await campus[Symbol.asyncDispose]();
    await receiver[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
    if (needed) await removeLeftovers(await sharedBroker(needed), namespace);
  }, BROKER_TIMEOUT_MS);

  const logged = () => loggedSpans(campus.services.map(({ logFile }) => logFile));
  const logOf = (trace: string) => logged().filter(({ trace_id }) => trace_id === trace);
  const order = async (flags: string, kitchen = "main") => {
    const trace = crypto.randomUUID().replaceAll("-", "");
    const traceparent = `00-${trace}-${CALLER}-${flags}`;
    const answer = await fetch(`${campus.order.url}/order`, {
      method: "POST",
      headers: { "content-type": "application/json", traceparent },
      body: JSON.stringify({ user_id: "u1", kitchen, items: [{ sku: "burger", qty: 1 }] }),
    });
    const { order_id } = (await answer.json()) as { order_id: string };
    return { order_id, status: answer.status, trace };
  };
  const ended = (orderId: string) =>
    eventually(`order ${orderId} ends`, async () => {
      const answer = await fetch(`${campus.order.url}/orders/${orderId}`);
      return ((await answer.json()) as { status: string }).status === factsOf(model).success;
    });
  const whole = (trace: string) =>
    eventually("every span has ended", () => {
      const spans = logOf(trace);
      const lines = treeOf(spans, namespace);
      const isWhole = Bun.deepEquals(lines, tree) && spans.every(({ outcome }) => outcome === "ok");
      if (!isWhole) throw new Error(`\n${lines.join("\n")}`);
      return spans;
    });
  const eventOf = (orderId: string) => {
    const sql = "SELECT body FROM outbox WHERE body ->> 'subject' = ?";
    return read<{ body: string }>(campus.order, sql, orderId)[0]!.body;
  };

  test(
    "a sampled order is one trace, under its caller's span; one that isn't leaves no span",
    async () => {
      const unsampled = await order("00");
      await ended(unsampled.order_id);
      const { order_id, trace } = await order("01");
      await ended(order_id);
      const spans = await whole(trace);
      expect(spans[0]).toMatchObject({
        parent_id: CALLER,
        attributes: { order_id },
      });
      expect(spans.filter(({ began_us, ended_us }) => ended_us! < began_us)).toEqual([]);
      expect(logOf(unsampled.trace)).toEqual([]);
    },
    TIMEOUT_MS,
  );

  if (repeat)
    test(
      "a duplicate that the ledger knew is seen in its order's trace",
      async () => {
        const { order_id, trace } = await order("01");
        await ended(order_id);
        await whole(trace);
        await repeat(place, eventOf(order_id));
        await eventually("the duplicate is processed", () =>
          logOf(trace).some(
            ({ attributes, outcome }) => attributes["duplicate"] && outcome === "ok",
          ),
        );
      },
      TIMEOUT_MS,
    );

  if (replay)
    test(
      "what is processed again on purpose is a trace of its own, linked with the first",
      async () => {
        const { order_id, trace } = await order("01");
        await ended(order_id);
        await whole(trace);
        const before = logOf(trace).length;
        await replay(place, eventOf(order_id), `00-${trace}-${CALLER}-01`);
        const again = await eventually("it is exported, with its link", () =>
          receiver.spans.find(({ links, trace_id }) => trace_id !== trace && links.includes(trace)),
        );
        expect(again).toMatchObject({
          kind: "consumer",
          parent_id: undefined,
          attributes: { replayed: true },
        });
        expect(logOf(trace)).toHaveLength(before);
      },
      TIMEOUT_MS,
    );

  test(
    "a killed process leaves the span that it was in",
    async () => {
      const { inventory } = campus;
      await setFaults(inventory, { hang: true });
      // Where the customer waits for Inventory, the answer comes only after its end.
      const placing = order("01");
      const begun = await eventually("Inventory has begun", () =>
        logged().find(({ outcome, service }) => service === inventory.name && !outcome),
      );
      await inventory.kill();
      const { trace } = await placing;
      expect(logOf(trace)).toContainEqual(begun);
      await inventory.restart();
      await inventory.healthy();
    },
    TIMEOUT_MS,
  );

  test(
    "what is exported is what the logs say, and a stop exports the rest",
    async () => {
      const placed = await Promise.all(KITCHENS.slice(0, 12).map((one) => order("01", one)));
      await Promise.all(placed.map(({ order_id }) => ended(order_id)));
      await Promise.all(placed.map(({ trace }) => whole(trace)));
      expect(await Promise.all(campus.services.map((service) => service.stop()))).toEqual([
        0, 0, 0,
      ]);
      for (const { trace } of placed) {
        const exported = receiver.spans.filter(({ trace_id }) => trace_id === trace);
        expect(treeOf(exported, namespace)).toEqual([...tree]);
        const byId = (a: { span_id: string }, b: { span_id: string }) =>
          a.span_id.localeCompare(b.span_id);
        expect(exported.map(comparable).toSorted(byId)).toEqual(
          logOf(trace).map(comparable).toSorted(byId),
        );
        const consumers = exported.filter(({ kind }) => kind === "consumer");
        expect(consumers.flatMap(({ links }) => links)).toEqual(consumers.map(() => trace));
        // Both ends of a message say where it was.
        const senders = consumers.map(({ parent_id }) =>
          exported.find(({ span_id }) => span_id === parent_id)!,
        );
        expect(consumers.map(placeOf)).toEqual(senders.map(placeOf));
      }
    },
    TIMEOUT_MS,
  );
}

function treeOf(spans: readonly SeenSpan[], namespace: string): string[] {
  return spanTree(spans).map((line) => line.replaceAll(namespace, ""));
}

/** Where a message was, as far as both its sender and its consumer know. */
function placeOf({ attributes }: SeenSpan) {
  return [
    attributes["messaging.rabbitmq.destination.routing_key"],
    attributes["messaging.destination.partition.id"],
    attributes["messaging.kafka.offset"],
  ];
}

/** Without what a log doesn't tell. */
function comparable(span: SeenSpan): SeenSpan {
  return { ...span, links: [] };
}
