/** The part of kafkajs' inside that `connection.ts` mends; its types leave it out. */
declare module "kafkajs/src/network/connection.js" {
  export default class Connection {
    isConnected(): boolean;
    connect(): Promise<boolean>;
  }
}
