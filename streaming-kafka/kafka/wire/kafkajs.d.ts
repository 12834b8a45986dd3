/** The internals of kafkajs that are patched or used here; its types omit them. */
declare module "kafkajs/src/network/connection.js" {
  export default class Connection {
    isConnected(): boolean;
    connect(): Promise<boolean>;
    socket?: { destroy(reason: Error): void };
  }
}

declare module "kafkajs/src/consumer/runner.js" {
  import type Connection from "kafkajs/src/network/connection.js";
  export default class Runner {
    consumerGroup: {
      cluster: {
        brokerPool: { brokers: Record<string, { connectionPool: { pool: Connection[] } }> };
      };
    };
    stop(): Promise<void>;
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

declare module "kafkajs/src/protocol/request.js" {
  import type Encoder from "kafkajs/src/protocol/encoder.js";
  export interface Request {
    apiKey: number;
    apiVersion: number;
    encode(): Promise<Encoder>;
  }
  export default function createRequest(options: {
    correlationId: number;
    clientId: string;
    request: Request;
  }): Promise<Encoder>;
}

declare module "kafkajs/src/protocol/requests/describeConfigs/index.js" {
  import type { ConfigEntries } from "kafkajs";
  import type { Request } from "kafkajs/src/protocol/request.js";
  interface Described {
    resources: { resourceName: string; errorCode: number; configEntries: ConfigEntries[] }[];
  }
  const describeConfigs: {
    protocol(options: { version: number }): (options: {
      resources: { type: number; name: string }[];
      includeSynonyms: boolean;
    }) => {
      request: Request;
      response: { decode(bytes: Buffer): Promise<Described> };
    };
  };
  export default describeConfigs;
}

declare module "kafkajs/src/protocol/encoder.js" {
  export default class Encoder {
    readonly buffer: Buffer;
    writeInt8(value: number): this;
    writeInt16(value: number): this;
    writeInt32(value: number): this;
    writeString(value: string): this;
    writeUVarInt(value: number): this;
    writeUVarIntString(value: string): this;
    writeBufferInternal(buffer: Buffer): void;
  }
}

declare module "kafkajs/src/protocol/decoder.js" {
  export default class Decoder {
    constructor(buffer: Buffer);
    readInt8(): number;
    readInt16(): number;
    readInt32(): number;
    readBytes(length: number): Buffer;
    readUVarIntString(): string | null;
    readUVarIntArray<T>(reader: () => T): T[] | null;
    readTaggedFields(): unknown;
  }
}

declare module "kafkajs/src/consumer/batch.js" {
  export default class Batch {
    rawMessages: object[];
    messagesWithinOffset: object[];
    isEmpty(): boolean;
  }
}

declare module "kafkajs/src/consumer/offsetManager/index.js" {
  interface Offsets<P> {
    topic: string;
    partitions: P[];
  }
  export default class OffsetManager {
    cluster: {
      fetchTopicsOffset(
        topics: (Offsets<{ partition: number }> & { fromBeginning: boolean })[],
      ): Promise<Offsets<{ partition: number; offset: string }>[]>;
    };
    commitOffsets(offsets: {
      topics: Offsets<{ partition: number; offset: string }>[];
    }): Promise<void>;
    clearOffsets(place: { topic: string; partition: number }): void;
    setDefaultOffset(place: { topic: string; partition: number }): Promise<void>;
  }
}

declare module "kafkajs/src/protocol/recordBatch/crc32C/index.js" {
  export default function crc32C(bytes: Uint8Array): number;
}

declare module "kafkajs/src/protocol/error.js" {
  export function createErrorFromCode(code: number): Error & { type: string; retriable: boolean };
}
