/**
 * Single requests to Kafka over a connection of their own, for what kafkajs' clients can't ask: its
 * Metadata request gives no topic ids, and before each DescribeConfigs it fetches the metadata of
 * all topics of the cluster.
 */
import { KafkaJSConnectionError } from "kafkajs";
import createRequest, { type Request } from "kafkajs/src/protocol/request.js";
import { connectWatched } from "../connection.ts";

const ANSWER_MS = 3_000;

/**
 * The answer of the first of those brokers (`host:port`, with commas between) that gives one, without
 * its correlation id. Throws a transient error when none does.
 */
export async function ask(brokers: string, request: Request): Promise<Buffer> {
  const { buffer } = await createRequest({ correlationId: 0, clientId: "lab", request });
  let reason = "";
  for (const broker of brokers.split(",")) {
    try {
      return await askOne(broker, buffer);
    } catch (error) {
      reason = (error as Error).message;
    }
  }
  throw new KafkaJSConnectionError(reason, { broker: brokers });
}

async function askOne(broker: string, request: Buffer): Promise<Buffer> {
  const colon = broker.lastIndexOf(":");
  const address = { host: broker.slice(0, colon), port: Number(broker.slice(colon + 1)) };
  const socket = connectWatched({ ...address, onConnect: () => socket.write(request) });
  const timer = setTimeout(() => socket.destroy(new Error("no answer")), ANSWER_MS);
  try {
    let answer = Buffer.alloc(0);
    for await (const bytes of socket as AsyncIterable<Buffer>) {
      answer = Buffer.concat([answer, bytes]);
      if (answer.length >= 4 && answer.length >= 4 + answer.readInt32BE(0)) {
        return answer.subarray(8);
      }
    }
    throw new Error("it hung up");
  } finally {
    clearTimeout(timer);
    socket.destroy();
  }
}
