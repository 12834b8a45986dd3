/** The parts of kafkajs' inside that `connection.ts` mends; its types leave them out. */
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
