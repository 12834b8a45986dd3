/**
 * How a client of RabbitMQ reads deliveries and settles them: acknowledges, requeues or
 * dead-letters.
 */
import { type Decoded, decodeEvent, type EventType, type LabEvent } from "@lab/contracts/events";
import { type Log, reasonOf } from "@lab/runtime/log";
import {
  beginProcessing,
  beginSettling,
  endSpan,
  errorAttributes,
  noteOnSpan,
} from "@lab/runtime/trace";
import { Type } from "@sinclair/typebox";
import type { Channel, ConsumeMessage } from "amqplib";
import { type Death, isBrokerError, type Publisher } from "./publisher.ts";
import { MAX_ATTEMPTS, REDRIVEN } from "./topology.ts";

/** RabbitMQ's address, with user and password where it needs them. */
export const AmqpUrl = Type.String({
  pattern: "^amqps?://[^\\s]+$",
  format: "parsable-url",
  description: "amqp://user:password@host:port",
  default: "amqp://127.0.0.1:5672",
});

/** A valid message, and its event. */
export interface Delivery<E extends LabEvent> {
  message: ConsumeMessage;
  event: E;
}

/** The span in which a delivery is processed: from its reading until it is settled. */
const spans = new WeakMap<ConsumeMessage, string>();

/**
 * The event of a delivery; what it causes belongs to the span of its processing, which begins here.
 */
export function readEvent<T extends EventType>(
  channel: Channel,
  message: ConsumeMessage,
  types: readonly T[],
  log: Log,
): Decoded<T> {
  const { fields, properties } = message;
  const { [REDRIVEN]: redriven, traceparent }: Record<string, unknown> = properties.headers ?? {};
  const decoded = decodeEvent(message.content, types);
  const event: LabEvent | undefined = decoded.kind === "event" ? decoded.event : undefined;
  const sender = typeof traceparent === "string" ? traceparent : event?.traceparent;
  const span = beginProcessing(log, sender, redriven === true, () => {
    const { queue } = deadLetterRoutes.get(channel)!;
    const attributes = {
      "messaging.system": "rabbitmq",
      "messaging.operation.type": "process",
      "messaging.destination.name": `${fields.exchange}:${fields.routingKey}:${queue}`,
      "messaging.rabbitmq.destination.routing_key": fields.routingKey,
      redelivered: fields.redelivered,
    };
    return { name: `process ${queue}`, orderId: event?.subject, attributes };
  });
  spans.set(message, span);
  if (event) event.traceparent = span;
  if (decoded.kind === "invalid") noteOnSpan(span, { "error.type": decoded.reason });
  return decoded;
}

/**
 * Acknowledges a batch's work, with one multiple-ack unless other deliveries of the channel wait to
 * be requeued. RabbitMQ's channel buffers single acks once a quorum queue has 32 still to apply
 * (the soft limit of rabbit_fifo_client.erl), and drops the buffered ones when it closes: after the
 * stop of a busy consumer its finished work would be redelivered.
 */
export function acknowledge(channel: Channel, work: readonly Delivery<LabEvent>[]): void {
  for (const { event } of work) failures.delete(event.id);
  const settlings = work.map(({ message }) => beginSettling(spans.get(message)));
  // A multiple-ack would include the deliveries that wait to be requeued.
  if (pendingRequeues.get(channel)) for (const { message } of work) channel.ack(message);
  else channel.ack(work.at(-1)!.message, true);
  for (const settling of settlings) endSpan(settling, { settle: "ack" });
  for (const { message } of work) endSpan(spans.get(message));
}

/** How many deliveries of a channel wait to be requeued or dead-lettered. */
const pendingRequeues = new WeakMap<Channel, number>();

/** The queue that a channel consumes, and the publisher of its dead letters. */
const deadLetterRoutes = new WeakMap<Channel, { publisher: Publisher; queue: string }>();

/** Sets where the channel's dead letters go. */
export function routeDeadLetters(channel: Channel, publisher: Publisher, queue: string): void {
  deadLetterRoutes.set(channel, { publisher, queue });
}

const RETRY_PAUSE_MS = 100;

/**
 * How often processing of a message has failed in this process, by its id; deleted when it is done
 * or dead-lettered.
 */
const failures = new Map<string, number>();
/** At most so many are kept: some messages are finished by another process. */
const MAX_FAILURES = 10_000;

/**
 * Requeues a message after a pause that doubles with each failure; after its last allowed attempt,
 * dead-letters it. The failures are counted here: RabbitMQ counts every delivery, including a view
 * of the message in its management page, and each that was requeued by a lost connection.
 */
export function requeueLater(
  channel: Channel,
  { event, message }: { event?: LabEvent; message: ConsumeMessage },
  error: unknown,
  log: Log,
): void {
  const span = spans.get(message);
  // The channel is closed, and the broker has requeued the message: that is no failure of the message.
  if (isBrokerError(error)) return endSpan(span, errorAttributes(error));
  const settling = beginSettling(span);
  endSpan(span, errorAttributes(error));
  const id = event?.id ?? String(message.properties.messageId);
  const attempt = 1 + (failures.get(id) ?? 0);
  failures.set(id, attempt);
  if (failures.size > MAX_FAILURES) failures.delete([...failures.keys()][0]!);
  const reason = reasonOf(error);
  log.warn("message_retried", { order_id: event?.subject, attempt, reason });
  if (attempt >= MAX_ATTEMPTS) {
    failures.delete(id);
    const detail = `failed at each of ${attempt} attempts, at last with ${reason}`;
    const why: Death = { reason: "failed_too_often", detail };
    void deadLetter(channel, message, settling, why, attempt);
    return;
  }
  const pauseMs = RETRY_PAUSE_MS * 2 ** Math.min(attempt - 1, 5);
  countPending(channel, +1);
  setTimeout(() => {
    countPending(channel, -1);
    try {
      channel.reject(message, true);
      endSpan(settling, { settle: "requeue" });
    } catch (gone) {
      // The channel is gone, and the broker took the message back with it.
      endSpan(settling, errorAttributes(gone));
    }
  }, pauseMs).unref();
}

/**
 * Dead-letters a message that can never be valid: RabbitMQ moves it to the dead queue. One that
 * already has an `x-death` is published there from here: if another program has written that
 * header, RabbitMQ stops the dead-lettering of all queues because of it, or writes a count into it
 * that it can no longer encode, so that the dead queue can't be read (both seen with 3.10).
 */
export async function giveUp(channel: Channel, message: ConsumeMessage): Promise<void> {
  const settling = beginSettling(spans.get(message));
  endSpan(spans.get(message));
  const { headers = {} } = message.properties;
  if ("x-death" in headers) return deadLetter(channel, message, settling);
  channel.reject(message, false);
  endSpan(settling, { settle: "dead-letter" });
}

/**
 * Dead-letters a message whose id was used before with other content. Resolves once the dead letter
 * is stored: then the message is to be acknowledged.
 */
export function refuseReusedId(
  channel: Channel,
  message: ConsumeMessage,
  detail: string,
  log: Log,
): Promise<void> {
  const { publisher, queue } = deadLetterRoutes.get(channel)!;
  log.warn("message_refused", { reason: "id_reused", detail });
  noteOnSpan(spans.get(message), { "error.type": "id_reused" });
  return publisher.publishDeadLetter(queue, message, { reason: "id_reused", detail });
}

async function deadLetter(
  channel: Channel,
  message: ConsumeMessage,
  settling: string | undefined,
  why?: Death,
  attempts?: number,
): Promise<void> {
  const { publisher, queue } = deadLetterRoutes.get(channel)!;
  countPending(channel, +1);
  try {
    await publisher.publishDeadLetter(queue, message, why, attempts);
    channel.ack(message);
    endSpan(settling, { settle: "dead-letter" });
  } catch (error) {
    endSpan(settling, errorAttributes(error));
    // Otherwise the channel is closed, and the broker has requeued the message.
    if (!isBrokerError(error)) throw error;
  } finally {
    countPending(channel, -1);
  }
}

function countPending(channel: Channel, more: number): void {
  pendingRequeues.set(channel, (pendingRequeues.get(channel) ?? 0) + more);
}
