/**
 * What the broker reports about a topic's log: where it begins, where it ends, and whether it is
 * still the same one. A topic that is deleted and recreated has the same name, and another id.
 * kafkajs 2.2.4 uses a metadata version without topic ids, so they are requested here.
 */
import type { TopicLog } from "@lab/store/gaps";
import type { Admin, KafkaJSProtocolError } from "kafkajs";
import Decoder from "kafkajs/src/protocol/decoder.js";
import Encoder from "kafkajs/src/protocol/encoder.js";
import { connectWatched } from "./connection.ts";

type Identity = Pick<TopicLog, "id" | "partitions">;

/** The Metadata request, in a version that Kafka 2.8 and later support. */
const METADATA = { key: 3, version: 11 };
const NO_ID = Buffer.alloc(16);
const ANSWER_MS = 3_000;

/**
 * The logs of those topics as they are now, with each topic's id and ends from the same moment.
 * Throws what kafkajs throws.
 */
export async function fetchLogs(
  admin: Admin,
  brokers: string,
  topics: readonly string[],
): Promise<Record<string, TopicLog>> {
  for (;;) {
    const before = await fetchIdentities(brokers, topics);
    const logs: Record<string, TopicLog> = {};
    for (const topic of topics) {
      const ends = (await fetchEnds(admin, topic)).map(({ high, low, partition }) => ({
        partition,
        low: Number(low),
        high: Number(high),
      }));
      const unknown = { id: undefined, partitions: Infinity };
      logs[topic] = { ...(before.get(topic) ?? unknown), ends };
    }
    // If a topic was recreated meanwhile, the ends may be those of another log.
    if (Bun.deepEquals(before, await fetchIdentities(brokers, topics))) return logs;
  }
}

/** A newly elected leader may not know it yet; kafkajs fails at once. */
async function fetchEnds(admin: Admin, topic: string) {
  for (let left = 10; ; left -= 1) {
    try {
      return await admin.fetchTopicOffsets(topic);
    } catch (error) {
      const { type } = error as KafkaJSProtocolError;
      if (left === 0 || type !== "NOT_LEADER_FOR_PARTITION") throw error;
      await Bun.sleep(50);
    }
  }
}

/** By topic; without those that don't exist, and empty where no broker provides ids. */
export async function fetchIdentities(
  brokers: string,
  topics: readonly string[],
): Promise<Map<string, Identity>> {
  for (const broker of brokers.split(",")) {
    try {
      return identitiesIn(await ask(broker, metadataRequest(topics)));
    } catch {
      // Too old, or down: then other requests to it fail, too.
    }
  }
  return new Map();
}

/** The answer to one request over a connection of its own. Throws when there is none. */
async function ask(broker: string, request: Buffer): Promise<Buffer> {
  const colon = broker.lastIndexOf(":");
  const address = { host: broker.slice(0, colon), port: Number(broker.slice(colon + 1)) };
  const socket = connectWatched({ ...address, onConnect: () => socket.write(request) });
  const timer = setTimeout(() => socket.destroy(new Error("no answer")), ANSWER_MS);
  try {
    let answer = Buffer.alloc(0);
    for await (const bytes of socket as AsyncIterable<Buffer>) {
      answer = Buffer.concat([answer, bytes]);
      if (answer.length >= 4 && answer.length >= 4 + answer.readInt32BE(0)) {
        return answer.subarray(4);
      }
    }
    throw new Error("it hung up");
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}

function metadataRequest(topics: readonly string[]): Buffer {
  const request = new Encoder()
    .writeInt16(METADATA.key)
    .writeInt16(METADATA.version)
    .writeInt32(0)
    .writeString("lab")
    .writeUVarInt(0)
    .writeUVarInt(topics.length + 1);
  for (const topic of topics) {
    request.writeBufferInternal(NO_ID);
    request.writeUVarIntString(topic).writeUVarInt(0);
  }
  // No auto-creation of topics, no authorized operations, no tagged fields.
  request.writeInt8(0).writeInt8(0).writeUVarInt(0);
  return Buffer.concat([new Encoder().writeInt32(request.buffer.length).buffer, request.buffer]);
}

function identitiesIn(answer: Buffer): Map<string, Identity> {
  const read = new Decoder(answer);
  const tags = () => read.readTaggedFields();
  const ints = () => read.readUVarIntArray(() => read.readInt32());
  // Correlation id and throttle time, then the brokers, the cluster id and the controller.
  read.readInt32();
  tags();
  read.readInt32();
  read.readUVarIntArray(() => {
    read.readInt32();
    read.readUVarIntString();
    read.readInt32();
    read.readUVarIntString();
    tags();
  });
  read.readUVarIntString();
  read.readInt32();
  const topics = read.readUVarIntArray(() => {
    const error = read.readInt16();
    const name = read.readUVarIntString() ?? "";
    const id = read.readBytes(16);
    read.readInt8();
    const partitions = read.readUVarIntArray(() => {
      read.readInt16();
      // Per partition: index, leader and leader epoch; replicas, in-sync replicas, offline
      // replicas.
      for (let n = 0; n < 3; n += 1) read.readInt32();
      for (let n = 0; n < 3; n += 1) ints();
      tags();
    });
    read.readInt32();
    tags();
    return { error, id, name, partitions: partitions?.length ?? 0 };
  });
  return new Map(
    (topics ?? [])
      .filter(({ error }) => error === 0)
      .map(({ id, name, partitions }) => [
        name,
        { id: id.equals(NO_ID) ? undefined : id.toString("hex"), partitions },
      ]),
  );
}
