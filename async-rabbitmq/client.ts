/** How a client of RabbitMQ settles deliveries: acknowledges them, puts them back, gives them up. */
import type { LabEvent } from "@lab/contracts/events";
import { type Log, reasonOf } from "@lab/runtime/log";
import { Type } from "@sinclair/typebox";
import type { Channel, ConsumeMessage } from "amqplib";
import { type Death, isBrokers, type Publisher } from "./publisher.ts";
import { DELIVERY_LIMIT } from "./topology.ts";

/** Where RabbitMQ is, with user and password if it wants one. */
export const AmqpUrl = Type.String({
  pattern: "^amqps?://[^\\s]+$",
  format: "parsable-url",
  description: "amqp://user:password@host:port",
  default: "amqp://127.0.0.1:5672",
});

/** A message that met its contract, and what it says. */
export interface Delivery<E extends LabEvent> {
  message: ConsumeMessage;
  event: E;
}

/**
 * Acknowledges a batch's work, with one multiple-ack unless other deliveries of the channel wait to be
 * requeued. Of single acks RabbitMQ's channel keeps back what goes beyond 32 that a quorum queue has
 * yet to note (the soft limit of rabbit_fifo_client.erl), and forgets them when it closes: the stop of
 * a busy consumer would have its work delivered again.
 */
export function acknowledge(channel: Channel, work: readonly Delivery<LabEvent>[]): void {
  for (const { event } of work) failures.delete(event.id);
  // "All up to this one" would take those along that wait to be put back.
  if (hasPendingRequeues(channel)) for (const { message } of work) channel.ack(message);
  else channel.ack(work.at(-1)!.message, true);
}

/** How many deliveries of a channel wait to be put back, or to be dead. */
const pendingRequeues = new WeakMap<Channel, number>();

/** Whether deliveries of that channel wait to be settled one by one. */
export function hasPendingRequeues(channel: Channel): boolean {
  return Boolean(pendingRequeues.get(channel));
}

/** Of which queue a channel's dead letters are, and who publishes them. */
const deadLetterRoutes = new WeakMap<Channel, { publisher: Publisher; queue: string }>();

/** Says where what that channel gives up is to go. */
export function routeDeadLetters(channel: Channel, publisher: Publisher, queue: string): void {
  deadLetterRoutes.set(channel, { publisher, queue });
}

const RETRY_PAUSE_MS = 100;

/** How often work on a message has failed here, by its id; forgotten when it is done or dead. */
const failures = new Map<string, number>();
/** More are never remembered: some are done elsewhere, by another process. */
const MAX_FAILURES = 10_000;

/**
 * Puts a message back after a pause that doubles with each failure; after the last attempt that it
 * is allowed, it is dead. The failures are counted here: RabbitMQ counts every delivery, a look at
 * the message in its management page among them, and each that a lost connection took back.
 */
export function requeueLater(
  channel: Channel,
  { event, message }: { event?: LabEvent; message: ConsumeMessage },
  error: unknown,
  log: Log,
): void {
  // The channel is gone, and the broker took the message back with it: that is no failure of the message.
  if (isBrokers(error)) return;
  const id = event?.id ?? String(message.properties.messageId);
  const attempt = 1 + (failures.get(id) ?? 0);
  failures.set(id, attempt);
  if (failures.size > MAX_FAILURES) failures.delete([...failures.keys()][0]!);
  const reason = reasonOf(error);
  log.warn("message_retried", { order_id: event?.subject, attempt, reason });
  if (attempt > DELIVERY_LIMIT) {
    failures.delete(id);
    const detail = `failed at each of ${attempt} attempts, at last with ${reason}`;
    void deadLetter(channel, message, { reason: "failed_too_often", detail }, attempt);
    return;
  }
  const pauseMs = RETRY_PAUSE_MS * 2 ** Math.min(attempt - 1, 5);
  countPending(channel, +1);
  setTimeout(() => {
    countPending(channel, -1);
    try {
      channel.reject(message, true);
    } catch {
      // The channel is gone, and the broker took the message back with it.
    }
  }, pauseMs).unref();
}

/**
 * Gives up a message that can never be valid: RabbitMQ moves it to the dead queue. One that has an
 * `x-death` already is put there from here: if others have written that, RabbitMQ ends its
 * dead-lettering of every queue over it, or writes a count into it that it can't send any more, so
 * that nobody gets at the dead queue (both seen with 3.10).
 */
export async function giveUp(channel: Channel, message: ConsumeMessage): Promise<void> {
  const { headers = {} } = message.properties;
  if ("x-death" in headers) await deadLetter(channel, message);
  else channel.reject(message, false);
}

/**
 * Puts a message whose id stands for something else already among the dead letters. Resolves once it
 * lies there: then it is to be acknowledged.
 */
export function refuseReusedId(
  channel: Channel,
  message: ConsumeMessage,
  detail: string,
  log: Log,
): Promise<void> {
  const { publisher, queue } = deadLetterRoutes.get(channel)!;
  log.warn("message_refused", { reason: "id_reused", detail });
  return publisher.publishDeadLetter(queue, message, { reason: "id_reused", detail });
}

async function deadLetter(
  channel: Channel,
  message: ConsumeMessage,
  why?: Death,
  attempts?: number,
): Promise<void> {
  const { publisher, queue } = deadLetterRoutes.get(channel)!;
  countPending(channel, +1);
  try {
    await publisher.publishDeadLetter(queue, message, why, attempts);
    channel.ack(message);
  } catch (error) {
    // Else the channel is gone, and the broker took the message back with it.
    if (!isBrokers(error)) throw error;
  } finally {
    countPending(channel, -1);
  }
}

function countPending(channel: Channel, more: number): void {
  pendingRequeues.set(channel, (pendingRequeues.get(channel) ?? 0) + more);
}
