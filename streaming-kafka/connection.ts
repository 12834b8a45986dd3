/** What kafkajs 2.2.4 needs to survive a bad network: found with a TCP proxy, see tests/proof/network-faults.test.ts. */
import { connect, type Socket } from "node:net";
import type { ISocketFactoryArgs } from "kafkajs";
import Connection from "kafkajs/src/network/connection.js";

/** Longer than any answer of Kafka's takes, a group's rebalance after a lost member among them. */
const SILENT_MS = 15_000;

// The first half of an answer that was cut is kept by kafkajs, and the next connection's first answer taken for the
// rest of it: the process ends with a RangeError, or waits for ever (tulios/kafkajs#715).
const { connect: connectAnew } = Connection.prototype;
Connection.prototype.connect = function (this: Connection) {
  if (!this.isConnected()) Object.assign(this, { chunks: [], bytesBuffered: 0, bytesNeeded: 4 });
  return connectAnew.call(this);
};

/**
 * A connection that is given up when nothing has come for so long, idle ones too: a new one takes
 * milliseconds. kafkajs asks again over the same connection, and one that is half-open it would
 * use for ever.
 */
export function connectWatched({ host, onConnect, port }: ISocketFactoryArgs): Socket {
  const socket = connect({ host, port }, onConnect);
  // Without an error kafkajs would not notice.
  const giveUp = () => socket.destroy(new Error(`nothing came for ${SILENT_MS} ms`));
  const timer = setTimeout(giveUp, SILENT_MS).unref();
  socket.on("data", () => timer.refresh());
  socket.on("close", () => clearTimeout(timer));
  return socket;
}
