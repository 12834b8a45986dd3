/** What kafkajs 2.2.4 needs to survive a bad network: found with a TCP proxy, see tests/proof/network-faults.test.ts. */
import { connect, type Socket } from "node:net";
import type { ISocketFactoryArgs } from "kafkajs";
import Broker from "kafkajs/src/broker/index.js";
import Connection from "kafkajs/src/network/connection.js";
import RequestQueue from "kafkajs/src/network/requestQueue/index.js";

/** Longer than any answer of Kafka's takes, a group's rebalance after a lost member among them. */
const SILENT_MS = 15_000;

// The first half of an answer that was cut is kept by kafkajs, and the next connection's first answer taken for the
// rest of it: the process ends with a RangeError, or waits for ever (tulios/kafkajs#715).
const { connect: connectAnew } = Connection.prototype;
Connection.prototype.connect = function (this: Connection) {
  if (!this.isConnected()) Object.assign(this, { chunks: [], bytesBuffered: 0, bytesNeeded: 4 });
  return connectAnew.call(this);
};

// kafkajs takes a broker for connected as soon as its socket is. Where the first question over it, which versions
// there are, isn't answered, every later one fails with "Broker not connected", and the socket is kept.
const { connect: introduce, isConnected } = Broker.prototype;
const introduced = new WeakSet<Broker>();
Broker.prototype.connect = async function (this: Broker) {
  await introduce.call(this);
  introduced.add(this);
};
Broker.prototype.isConnected = function (this: Broker) {
  return introduced.has(this) && isConnected.call(this);
};

// With nothing to send kafkajs looks a thousand times a second whether there is something (tulios/kafkajs#1704).
const { scheduleCheckPendingRequests: lookAgain } = RequestQueue.prototype;
RequestQueue.prototype.scheduleCheckPendingRequests = function (this: RequestQueue) {
  if (this.pending.length > 0) lookAgain.call(this);
};

/**
 * A connection that is given up when nothing has come for so long, idle ones too: a new one takes
 * milliseconds. kafkajs asks again over the same connection, and one that is half-open it would
 * use for ever.
 */
export function connectWatched({ host, onConnect, port }: Omit<ISocketFactoryArgs, "ssl">): Socket {
  const socket = connect({ host, port }, onConnect);
  // Without an error kafkajs would not notice.
  const giveUp = () => socket.destroy(new Error(`nothing came for ${SILENT_MS} ms`));
  const timer = setTimeout(giveUp, SILENT_MS).unref();
  socket.on("data", () => timer.refresh());
  socket.on("close", () => clearTimeout(timer));
  return socket;
}
