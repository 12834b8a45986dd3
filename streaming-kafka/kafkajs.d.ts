/** The parts of kafkajs' inside that are mended or used here; its types leave them out. */
declare module "kafkajs/src/network/connection.js" {
  export default class Connection {
    isConnected(): boolean;
    connect(): Promise<boolean>;
  }
}

declare module "kafkajs/src/broker/index.js" {
  export default class Broker {
    isConnected(): boolean;
    connect(): Promise<void>;
  }
}

declare module "kafkajs/src/network/requestQueue/index.js" {
  export default class RequestQueue {
    pending: unknown[];
    scheduleCheckPendingRequests(): void;
  }
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
