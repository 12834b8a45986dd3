/**
 * Corrections of kafkajs 2.2.4 for unreliable networks: found with a TCP proxy, see
 * tests/proof/network-faults.proof.ts.
 */
import { connect, type Socket } from "node:net";
import type { ISocketFactoryArgs } from "kafkajs";
import Broker from "kafkajs/src/broker/index.js";
import Runner from "kafkajs/src/consumer/runner.js";
import Connection from "kafkajs/src/network/connection.js";
import RequestQueue from "kafkajs/src/network/requestQueue/index.js";

/** Longer than any answer of Kafka's takes, including a group's rebalance after a lost member. */
const SILENT_MS = 15_000;

/** The place of a broker's connection for fetches in kafkajs' pool. */
const FETCHES = 1;

// kafkajs keeps the first part of a truncated response, and takes the next connection's first
// response for its rest: the process ends with a RangeError, or waits for ever
// (tulios/kafkajs#715).
const { connect: connectAnew } = Connection.prototype;
Connection.prototype.connect = function (this: Connection) {
  if (!this.isConnected()) Object.assign(this, { chunks: [], bytesBuffered: 0, bytesNeeded: 4 });
  return connectAnew.call(this);
};

// kafkajs considers a broker connected as soon as its socket is. Where the first request,
// ApiVersions, isn't answered, every later one fails with "Broker not connected", and the socket is
// kept.
const { connect: introduce, isConnected } = Broker.prototype;
const introduced = new WeakSet<Broker>();
Broker.prototype.connect = async function (this: Broker) {
  await introduce.call(this);
  introduced.add(this);
};
Broker.prototype.isConnected = function (this: Broker) {
  return introduced.has(this) && isConnected.call(this);
};

// A stop waits for the end of the last fetch, which itself waits for records. Fetches have a
// connection of their own: closed, it ends them. Over the other one the group is left.
const { stop } = Runner.prototype;
Runner.prototype.stop = function (this: Runner) {
  const stopped = stop.call(this);
  for (const { connectionPool } of Object.values(this.consumerGroup.cluster.brokerPool.brokers)) {
    connectionPool.pool[FETCHES]?.socket?.destroy(new Error("stopped"));
  }
  return stopped;
};

// With nothing to send kafkajs polls its queue a thousand times a second (tulios/kafkajs#1704).
const { scheduleCheckPendingRequests: lookAgain } = RequestQueue.prototype;
RequestQueue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
  if (this.pending.length > 0) lookAgain.call(this);
};

/**
 * A connection that is closed when nothing was received for SILENT_MS, even an idle one: a new one
 * takes milliseconds. kafkajs retries over the same connection, and would use a half-open one for
 * ever.
 */
export function connectWatched({ host, onConnect, port }: Omit<ISocketFactoryArgs, "ssl">): Socket {
  const socket = connect({ host, port }, onConnect);
  // Without an error kafkajs would not detect it.
  const giveUp = () => socket.destroy(new Error(`nothing came for ${SILENT_MS} ms`));
  const timer = setTimeout(giveUp, SILENT_MS).unref();
  socket.on("data", () => timer.refresh());
  socket.on("close", () => clearTimeout(timer));
  return socket;
}
