import type { OrderPlaced } from "@lab/contracts/events";
import type { Run } from "@lab/lab/experiment/experiment";
import { produceRaw, readTopic } from "@lab/lab/probes/kafka-tools";
import { placeOrder } from "@lab/lab/load/load";
import { fetchMetrics } from "@lab/lab/probes/replay";
import { eventually } from "@lab/lab/host/waiting";
import { allEnded, getJson, metricsOver, type Stream } from "./campus.ts";

/** Sends records that can never be valid, each between good orders for the same partition. */
export async function sendMalformed(run: Run, { brokers, campus, names }: Stream): Promise<void> {
  run.progress("malformed records between good orders");
  const before = (await fetchMetrics(campus.downstream.url)).metrics.placed;
  const records = await readTopic(brokers, names.orderEvents);
  const good = records.find(({ key }) => key === "main");
  const partition = good?.partition ?? 0;
  const event = JSON.parse(good?.value?.toString() ?? "{}") as OrderPlaced;
  const poisons: [reason: string, value: Uint8Array | string | null][] = [
    ["not_json", "burger, please"],
    ["wrong_schema", JSON.stringify({ ...event, data: { order_id: "7" } })],
    [
      "wrong_schema",
      JSON.stringify({
        ...event,
        data: { ...event.data, items: [{ sku: "burger", qty: "1" }] },
      }),
    ],
    ["unknown_type", JSON.stringify({ ...event, type: "OrderEaten" })],
    ["empty", ""],
    ["empty", null],
    ["invalid_utf8", new Uint8Array([0x7b, 0xff, 0xfe, 0x7d])],
    ["too_large", `"${"x".repeat(100_000)}"`],
  ];
  const offsets: number[] = [];
  for (const [, value] of poisons) {
    offsets.push(
      ...(await produceRaw(brokers, names.orderEvents, [{ partition, key: "main", value }])),
    );
    const answer = await placeOrder(
      campus.order.url,
      { user_id: "u1", items: [{ sku: "taco", qty: 1 }] },
      { history: run.history },
    );
    const { order_id = "" } = answer;
    await eventually("the good order behind it is reserved", async () => {
      const { status } = await getJson<{ status: string }>(
        `${campus.order.url}/orders/${order_id}`,
      );
      return status === "reserved";
    });
  }
  const dead = await eventually("all of them are dead letters", async () => {
    const letters = await readTopic(brokers, names.deadLetters);
    return letters.length >= poisons.length && letters;
  });
  run.holds(
    "each malformed record is in order-events.dead, with its reason and its place",
    dead.map(({ headers, value }) => ({
      reason: headers["reason"],
      at: `${headers["topic"]}/${headers["partition"]}/${headers["offset"]}`,
      // The value's length shows that the bytes are unchanged.
      bytes: value?.length ?? null,
    })),
    poisons.map(([reason, value], n) => ({
      reason,
      at: `${names.orderEvents}/${partition}/${offsets[n]}`,
      bytes: value === null ? null : Buffer.from(value as string).length,
    })),
  );
  await allEnded(campus);
  const { metrics } = await metricsOver(campus, before + poisons.length);
  run.holds(
    "Analytics counts the good orders and nothing of the malformed",
    metrics.placed,
    before + poisons.length,
  );
  run.table({
    id: "dead-letters",
    title: "Malformed records and their reasons",
    columns: [{ name: "reason" }, { name: "detail" }, { name: "bytes" }],
    rows: dead.map(({ headers, value }) => [
      headers["reason"] ?? null,
      headers["detail"] ?? null,
      value?.length ?? null,
    ]),
  });
  run.excerpt({
    id: "dead-letter",
    title: "A dead letter of order-events.dead: headers and value",
    text: JSON.stringify(
      {
        headers: dead[2]?.headers,
        value: dead[2]?.value?.toString(),
      },
      undefined,
      2,
    ),
  });
}
