/** The parts of kafkajs' inside that `connection.ts` mends; its types leave them out. */
declare module "kafkajs/src/network/connection.js" {
  export default class Connection {
    isConnected(): boolean;
    connect(): Promise<boolean>;
  }
}

declare module "kafkajs/src/broker/index.js" {
  class Broker {
    isConnected(): boolean;
    connect(): Promise<void>;
    fetch(options: { topics: Broker.Fetched[] }): Promise<unknown>;
    lookupRequest(
      key: unknown,
      definition: unknown,
    ): (options: unknown) => {
      request: { apiVersion: number };
      response: { decode(bytes: Buffer): Promise<unknown> };
    };
  }
  namespace Broker {
    interface Fetched {
      topic: string;
      partitions: { partition: number; fetchOffset: string }[];
    }
  }
  export default Broker;
}

declare module "kafkajs/src/network/requestQueue/index.js" {
  export default class RequestQueue {
    pending: unknown[];
    scheduleCheckPendingRequests(): void;
  }
}

declare module "kafkajs/src/consumer/batch.js" {
  export default class Batch {
    rawMessages: object[];
    messagesWithinOffset: object[];
    isEmpty(): boolean;
  }
}

declare module "kafkajs/src/protocol/recordBatch/crc32C/index.js" {
  export default function crc32C(bytes: Uint8Array): number;
}

declare module "kafkajs/src/protocol/error.js" {
  export function createErrorFromCode(code: number): Error & { type: string; retriable: boolean };
}
