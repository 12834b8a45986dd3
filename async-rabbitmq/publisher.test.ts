import { expect, test } from "bun:test";
import { newEvent } from "@lab/contracts/events";
import { newId } from "@lab/contracts/ids";
import { createLog } from "@lab/runtime/log";
import { TransientError } from "@lab/runtime/transient";
import { type ConfirmChannel, type ConsumeMessage, IllegalOperationError } from "amqplib";
import { isBug, Publisher } from "./publisher.ts";

const BODY = JSON.stringify(
  newEvent("OrderPlaced", "test", {
    order_id: newId(),
    user_id: "u1",
    kitchen: "main",
    items: [{ sku: "burger", qty: 1 }],
  }),
);

/** The error with which a publish rejects on a channel that behaves so. */
async function failureOf(publish: ConfirmChannel["publish"]): Promise<unknown> {
  const channel = { publish, on() {} } as unknown as ConfirmChannel;
  return new Publisher(channel, "orders", createLog("test", "error"))
    .publish(BODY)
    .catch((error: unknown) => error);
}

test("what RabbitMQ didn't take is tried again", async () => {
  const nacked = await failureOf((_exchange, _key, _content, _options, settle) => {
    settle?.(new Error("message nacked"), {});
    return true;
  });
  const closed = await failureOf(() => {
    throw new IllegalOperationError("Channel closed");
  });
  expect([nacked, closed].map(String)).toEqual([
    "Error: message nacked",
    "IllegalOperationError: Channel closed",
  ]);
  expect([nacked, closed].map(isBug)).toEqual([false, false]);
});

/**
 * The names of the properties with which a message is dead-lettered, where RabbitMQ's client can't
 * write those of `refused`.
 */
async function deadLetteredWith(refused: string[], properties: object): Promise<string[]> {
  const written: string[] = [];
  const publish: ConfirmChannel["publish"] = (_exchange, _key, _content, options, settle) => {
    const { headers, ...others } = options ?? {};
    const all = Object.keys({ ...headers, ...others });
    if (refused.some((name) => all.includes(name))) throw new TypeError("it can't be encoded");
    written.push(...all);
    settle?.(null, {});
    return true;
  };
  const channel = { publish, on() {} } as unknown as ConfirmChannel;
  const message = { content: Buffer.from("{}"), properties } as ConsumeMessage;
  await new Publisher(channel, "orders", createLog("test", "error")).publishDeadLetter(
    "inventory",
    message,
  );
  return written.toSorted();
}

test("a dead letter keeps of its properties what can be written, and is published in any case", async () => {
  const counted = { toString: "a table's own", valueOf: "too" };
  const properties = { messageId: "m", headers: { odd: {}, "x-delivery-count": counted } };
  const noted = ["dead-at", "dead-attempts", "mandatory", "persistent"];
  const cases = [[], ["odd"], ["odd", "messageId"]];
  expect(await Promise.all(cases.map((refused) => deadLetteredWith(refused, properties)))).toEqual([
    ["dead-at", "dead-attempts", "mandatory", "messageId", "odd", "persistent", "x-delivery-count"],
    [...noted.slice(0, 3), "messageId", "persistent"],
    noted,
  ]);
});

test("what may pass is tried again, any other error but RabbitMQ's is a bug", () => {
  expect(isBug(new TypeError("undefined is not an object"))).toBe(true);
  expect(isBug(new TransientError("the database is locked"))).toBe(false);
  expect(isBug(new IllegalOperationError("Channel closed", ""))).toBe(false);
});
