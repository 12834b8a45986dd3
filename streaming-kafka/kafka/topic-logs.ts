/**
 * What the broker says of a topic's log: where it begins, where it ends, and whether it is still
 * the same one. A topic that is deleted and made anew has the same name, and another id. kafkajs
 * 2.2.4 asks for metadata of before there were ids, so they are asked for here.
 */
import type { TopicLog } from "@lab/store/gaps";
import type { Admin, KafkaJSProtocolError } from "kafkajs";
import Decoder from "kafkajs/src/protocol/decoder.js";
import Encoder from "kafkajs/src/protocol/encoder.js";
import { connectWatched } from "./connection.ts";

type Identity = Pick<TopicLog, "id" | "partitions">;

/** Metadata as Kafka 2.8 and later speak it. */
const METADATA = { key: 3, version: 11 };
const NO_ID = Buffer.alloc(16);
const ANSWER_MS = 3_000;

/** The logs of those topics as they are now, each topic's id and ends from one moment. Throws what kafkajs throws. */
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
    // Made anew meanwhile, the ends may be those of another log.
    if (Bun.deepEquals(before, await fetchIdentities(brokers, topics))) return logs;
  }
}

/** A leader that was just chosen doesn't know it yet; kafkajs gives up at once. */
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

/** By topic; without those that don't exist, and empty where no broker can tell. */
export async function fetchIdentities(
  brokers: string,
  topics: readonly string[],
): Promise<Map<string, Identity>> {
  for (const broker of brokers.split(",")) {
    try {
      return identitiesIn(await ask(broker, metadataRequest(topics)));
    } catch {
      // Too old, or down: then what else is asked of it fails, too.
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
  // No topic is made by asking, nobody's rights are asked for, no field is tagged.
  request.writeInt8(0).writeInt8(0).writeUVarInt(0);
  return Buffer.concat([new Encoder().writeInt32(request.buffer.length).buffer, request.buffer]);
}

function identitiesIn(answer: Buffer): Map<string, Identity> {
  const read = new Decoder(answer);
  const tags = () => read.readTaggedFields();
  const ints = () => read.readUVarIntArray(() => read.readInt32());
  // Correlation and throttling, then the brokers, the cluster and its controller.
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
      // Number, leader and its epoch; replicas, those in sync, those offline.
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
