/**
 * What the broker reports about a topic's log: where it begins, where it ends, and whether it is
 * still the same one. A topic that is deleted and recreated has the same name, and another id.
 * kafkajs 2.2.4 uses a metadata version without topic ids.
 */
import type { TopicLog } from "@lab/store/gaps";
import type { Admin, KafkaJSProtocolError } from "kafkajs";
import Decoder from "kafkajs/src/protocol/decoder.js";
import Encoder from "kafkajs/src/protocol/encoder.js";
import type { Request } from "kafkajs/src/protocol/request.js";
import { ask } from "./wire/ask.ts";

type Identity = Pick<TopicLog, "id" | "partitions">;

/** The Metadata request, in a version that Kafka 2.8 and later support. */
const METADATA = { key: 3, version: 11 };
const NO_ID = Buffer.alloc(16);

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
  try {
    return identitiesIn(await ask(brokers, metadataRequest(topics)));
  } catch {
    // Too old, or down: then other requests fail, too.
    return new Map();
  }
}

function metadataRequest(topics: readonly string[]): Request {
  return {
    apiKey: METADATA.key,
    apiVersion: METADATA.version,
    encode: async () => {
      // The header's tagged fields come first.
      const body = new Encoder().writeUVarInt(0).writeUVarInt(topics.length + 1);
      for (const topic of topics) {
        body.writeBufferInternal(NO_ID);
        body.writeUVarIntString(topic).writeUVarInt(0);
      }
      // No auto-creation of topics, no authorized operations, no tagged fields.
      return body.writeInt8(0).writeInt8(0).writeUVarInt(0);
    },
  };
}

function identitiesIn(answer: Buffer): Map<string, Identity> {
  const read = new Decoder(answer);
  const tags = () => read.readTaggedFields();
  const ints = () => read.readUVarIntArray(() => read.readInt32());
  // The header's tagged fields and the throttle time, then the brokers, the cluster id and the
  // controller.
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
