import { decodeEvent, type InvalidReason } from "@lab/contracts/events";
import { printable, printableJson } from "@lab/runtime/printable";
import type { ChannelModel, ConfirmChannel, GetMessage, Options } from "amqplib";
import type { RabbitmqFacts } from "../brokers/model-facts.ts";
import { openChannel, putConfirmed } from "./rabbitmq-tools.ts";

export interface DeadLetter {
  /** Where it came from, without the namespace. */
  queue: string;
  /** From 1, the oldest. It decreases when earlier ones are removed. */
  position: number;
  message_id: string | null;
  /**
   * How it violates the contract; if it doesn't, the reason that its consumer gave, or how it was
   * dead-lettered.
   */
  reason: InvalidReason | "delivered_too_often" | "refused_before" | (string & {});
  detail: string;
  /** RabbitMQ's reason, `rejected` or `delivery_limit`; `its consumer` where that published it here. */
  died_by: string;
  /** RFC 3339; null when it isn't recorded. */
  died_at: string | null;
  /** Attempts at it in its original queue, as far as known. */
  attempts: number;
  /** How often it was dead-lettered from there, replays included. */
  deaths: number;
  size_bytes: number;
  headers: Record<string, unknown>;
  body: Buffer;
}

/** Why a letter isn't replayed, as it is or with a repaired body. */
export function wouldDieAgain(
  { reason, detail }: { reason: string; detail: string },
  body: Uint8Array | undefined,
): Error {
  const what = body === undefined ? "it" : "the repaired body";
  return new Error(`${what} would die again, ${reason}: ${detail}`);
}

/** Which letters of a queue: one by its position, one by its message id, or "all". */
export type Which = number | string;

/**
 * The dead letters of one namespace. A call takes a queue's letters out and puts them back, in
 * their old order, before it returns.
 */
export class DeadLetters implements AsyncDisposable {
  readonly #model: ChannelModel;
  readonly #namespace: string;
  readonly #facts: RabbitmqFacts;

  private constructor(model: ChannelModel, namespace: string, facts: RabbitmqFacts) {
    this.#model = model;
    this.#namespace = namespace;
    this.#facts = facts;
  }

  /** Throws when the broker doesn't answer. */
  static async open(
    address: string,
    namespace: string,
    facts: RabbitmqFacts,
  ): Promise<DeadLetters> {
    const { model } = await openChannel(address);
    return new DeadLetters(model, namespace, facts);
  }

  /** The dead letters of a queue, oldest first. Throws when the queue was never declared. */
  list(queue: string): Promise<DeadLetter[]> {
    return this.#withLetters(queue, async (_, taken) => taken.map(({ letter }) => letter));
  }

  /** One letter. Throws when there is none, or more than one with that message id. */
  async find(queue: string, which: number | string): Promise<DeadLetter> {
    const found = await this.#withLetters(queue, async (_, taken) => chosen(queue, taken, which));
    return found[0]!.letter;
  }

  /**
   * Puts letters back on the queue that they came from, and returns them. A dead letter is removed
   * only after the broker has stored the message there: if it is killed in between, the message
   * exists twice, and the consumer's ledger ignores the duplicate. `body` repairs a single letter.
   * Throws, and changes nothing, when what would be put back can't be valid; of "all", those stay
   * where they are.
   */
  replay(queue: string, which: Which, body?: Uint8Array): Promise<DeadLetter[]> {
    if (body !== undefined && which === "all") {
      throw new Error("one body repairs one letter, not all of them");
    }
    return this.#withLetters(queue, async (channel, taken) => {
      const replayed: DeadLetter[] = [];
      for (const one of chosen(queue, taken, which)) {
        const { message, letter } = one;
        const content = body === undefined ? message.content : Buffer.from(body);
        const decoded = decodeEvent(content, this.#facts.queues[queue]!);
        const reuses = body === undefined && letter.reason === "id_reused";
        if (decoded.kind === "invalid" || reuses) {
          if (which === "all") continue;
          throw wouldDieAgain(decoded.kind === "invalid" ? decoded : letter, body);
        }
        const messageId = decoded.event.id;
        const put = (more: Options.Publish) =>
          putConfirmed(channel, this.#name(queue), content, { ...more, messageId });
        const { headers, ...properties } = propertiesOf(message);
        const marked = { ...headers, [this.#facts.redrivenHeader]: true };
        await put({ ...properties, headers: marked }).catch((error: unknown) => {
          // Other programs write what amqplib can read and can't write. The consumer needs only the
          // body.
          if (!(error instanceof TypeError || error instanceof RangeError)) throw error;
          return put({});
        });
        channel.ack(message);
        one.settled = true;
        replayed.push(letter);
      }
      return replayed;
    });
  }

  /** Deletes letters for good, and returns them. */
  purge(queue: string, which: Which): Promise<DeadLetter[]> {
    return this.#withLetters(queue, async (channel, taken) => {
      const purged = chosen(queue, taken, which);
      // All with one ack: of thousands of acks RabbitMQ's channel buffers most, and drops them when
      // it closes.
      if (purged.length === taken.length) channel.ackAll();
      else for (const { message } of purged) channel.ack(message);
      for (const one of purged) one.settled = true;
      return purged.map(({ letter }) => letter);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // A connection that is already lost needs no close, and the failed call has reported why.
    await this.#model.close().catch(() => {});
  }

  #name(queue: string): string {
    return `${this.#namespace}${queue}`;
  }

  /** AMQP can't read a message without taking it: take all, use them, put back those that aren't settled. */
  async #withLetters<T>(
    queue: string,
    use: (channel: ConfirmChannel, taken: Taken[]) => Promise<T>,
  ): Promise<T> {
    const name = this.#facts.deadQueue(this.#name(queue));
    // A channel of its own: a missing queue closes it.
    const channel = await this.#model.createConfirmChannel();
    channel.on("error", () => {});
    const taken: Taken[] = [];
    try {
      await channel.checkQueue(name).catch((error: { code?: number }) => {
        if (error.code !== 404) throw error;
        throw new Error(
          `there is no queue ${name}: the asynchronous model was never up on this broker with ` +
            (this.#namespace === ""
              ? "an empty LAB_NAMESPACE"
              : `LAB_NAMESPACE=${this.#namespace}`),
        );
      });
      for (;;) {
        const message = await channel.get(name, { noAck: false });
        if (message === false) break;
        const letter = read(queue, this.#facts, taken.length + 1, message);
        taken.push({ message, letter, settled: false });
      }
      return await use(channel, taken);
    } finally {
      await putBack(channel, taken);
    }
  }
}

/**
 * A letter as readable text: why it is dead, its headers, and its body (hexadecimal where it isn't
 * text), each up to `most` characters. Control characters are escaped, so that it can't control a
 * terminal.
 */
export function letterText(letter: DeadLetter, most = 4_000): string {
  const { body, headers, ...about } = letter;
  const text = textOf(body);
  const lines = Object.entries(about).map(
    ([name, value]) => `${name.padEnd(10)}  ${printable(String(value ?? "none"))}`,
  );
  return [
    ...lines,
    `headers     ${shortened(printableJson(headers, 2), most)}`,
    text === undefined ? "body, not UTF-8, in hexadecimal" : "body",
    text === undefined ? hexOf(body, most) : printable(shortened(text, most), "\n\t"),
  ].join("\n");
}

function hexOf(body: Buffer, most: number): string {
  const shown = body.subarray(0, Math.ceil(most / 3));
  const more = body.length - shown.length;
  const hex = shown.toString("hex").replaceAll(/../g, "$& ").trimEnd();
  return more > 0 ? `${hex} … (${more} more bytes)` : hex;
}

function shortened(text: string, most: number): string {
  const more = text.length - most;
  return more > 0 ? `${text.slice(0, most)} … (${more} more characters)` : text;
}

/** The body as text; undefined when it isn't UTF-8. */
export function textOf(body: Buffer): string | undefined {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(body);
  } catch {
    return undefined;
  }
}

interface Taken {
  message: GetMessage;
  letter: DeadLetter;
  settled: boolean;
}

async function putBack(channel: ConfirmChannel, taken: Taken[]): Promise<void> {
  try {
    // All with one nack, for the same reason as in `purge`.
    if (taken.some(({ settled }) => !settled)) channel.nackAll(true);
    // The broker answers the close after everything that was sent before it.
    await channel.close();
  } catch {
    // The channel is closed, and the broker has requeued what wasn't settled.
  }
}

function chosen(queue: string, taken: Taken[], which: Which): Taken[] {
  if (which === "all") return taken;
  const found = taken.filter(({ letter }) =>
    typeof which === "number" ? letter.position === which : letter.message_id === which,
  );
  if (found.length === 1) return found;
  const what = typeof which === "number" ? `position ${which}` : `id ${which}`;
  throw new Error(
    found.length === 0
      ? `${queue} has no dead letter with ${what}; there are ${taken.length}`
      : `${found.length} dead letters of ${queue} have ${what}: say which position`,
  );
}

/** RabbitMQ's `x-death` entry; but any program may write such a header, with any content. */
interface Death {
  reason?: unknown;
  count?: unknown;
  time?: { value?: unknown } | null;
}

/**
 * Only a number is accepted: converting an untrusted table may throw, since it may have a key
 * `toString`.
 */
function numberIn(value: unknown): number {
  return typeof value === "number" ? value : Number.NaN;
}

function read(
  queue: string,
  facts: RabbitmqFacts,
  position: number,
  { content, properties }: GetMessage,
): DeadLetter {
  const headers = (properties.headers ?? {}) as Record<string, unknown>;
  const history: unknown = headers["x-death"];
  // The latest entry first.
  const deaths = (Array.isArray(history) ? history : []).filter(
    (one): one is Death => typeof one === "object" && one !== null,
  );
  const [last] = deaths;
  // The headers of a consumer that published the letter itself.
  const { "dead-at": buriedAt, "dead-attempts": attempts } = headers;
  const buried = typeof buriedAt === "string";
  const noted = typeof last?.reason === "string" ? last.reason : "unknown";
  const diedBy = buried ? "its consumer" : noted;
  const diedAt = new Date(buried ? buriedAt : numberIn(last?.time?.value) * 1_000);
  return {
    queue,
    position,
    message_id: (properties.messageId as string | undefined) ?? null,
    ...diagnose(queue, facts, content, headers, diedBy),
    died_by: diedBy,
    died_at: Number.isNaN(diedAt.getTime()) ? null : diedAt.toISOString(),
    // RabbitMQ 3 doesn't keep the original queue's count (x-delivery-count is the dead queue's own), but the reason implies it.
    attempts: numberIn(attempts) || (diedBy === "delivery_limit" ? facts.maxDeliveries : 1),
    deaths: deaths.reduce((sum, { count }) => sum + (numberIn(count) || 0), buried ? 1 : 0),
    size_bytes: content.length,
    headers,
    body: content,
  };
}

function diagnose(
  queue: string,
  { maxDeliveries, queues }: RabbitmqFacts,
  content: Buffer,
  { "dead-reason": reason, "dead-detail": detail }: Record<string, unknown>,
  diedBy: string,
): Pick<DeadLetter, "reason" | "detail"> {
  const decoded = decodeEvent(content, queues[queue]!);
  if (decoded.kind === "invalid") {
    return { reason: decoded.reason, detail: decoded.detail };
  }
  const what = `a valid ${decoded.event.type}`;
  if (typeof reason === "string") {
    const why = typeof detail === "string" ? detail : JSON.stringify(detail);
    return { reason, detail: `${what} that ${why}` };
  }
  return diedBy === "delivery_limit"
    ? {
        reason: "delivered_too_often",
        detail: `${what} that was delivered ${maxDeliveries} times, and never acknowledged`,
      }
    : { reason: "refused_before", detail: `${what} by today's contract` };
}

/**
 * Its original properties, without the headers added by dead-lettering, and without those that
 * would route it elsewhere or have it refused.
 */
function propertiesOf({ properties }: GetMessage): Options.Publish {
  const { headers = {}, userId: _user, expiration: _life, ...rest } = properties;
  const own = Object.entries(headers).filter(
    ([name]) => !/^(x-(death|(first|last)-death-.*|delivery-count)|dead-.*|B?CC)$/.test(name),
  );
  const set = Object.entries(rest).filter(([, value]) => value !== undefined);
  return { ...Object.fromEntries(set), headers: Object.fromEntries(own) };
}
