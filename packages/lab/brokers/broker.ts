/** The lab's interface to a broker, independent of how it runs. */
export type BrokerName = "rabbitmq" | "kafka";

/** A second listener of Kafka's, for clients behind a proxy: its port, and that of the proxy. */
export interface ProxiedListener {
  listener: number;
  advertised: number;
}

/** A running broker, and the means to disturb it. */
export interface Broker extends AsyncDisposable {
  readonly kind: "external" | "compose" | "native";
  readonly name: BrokerName;
  /** `amqp://user:password@127.0.0.1:port`, or `127.0.0.1:port`. */
  readonly address: string;
  /** RabbitMQ's management page and API: `http://127.0.0.1:port`, with the user and password of `address`. */
  readonly managementUrl?: string | undefined;
  readonly proxied?: ProxiedListener | undefined;
  /**
   * For a broker of the lab: the folder with what other processes need to find it; for a native one
   * also data, settings and log.
   */
  readonly folder?: string;
  /** `{rabbitmq, erlang}`, or `{kafka, java}`, as far as known. */
  readonly versions: Record<string, string>;
  /** SIGKILL. Throws for an external broker, which isn't ours to kill. */
  kill(): Promise<void>;
  /** After `kill`: the same broker on the same ports and data; returns when it answers. */
  start(): Promise<void>;
  /** SIGSTOP. */
  pause(): Promise<void>;
  /** SIGCONT. */
  resume(): Promise<void>;
  /** Ends what this handle started and removes its data; nothing for a broker that was there before. */
  stop(): Promise<void>;
}

/** The environment variable with the address of an external broker. */
export const addressVariable = {
  rabbitmq: "AMQP_URL",
  kafka: "KAFKA_BROKERS",
} as const;

/**
 * How to run a broker as a process of the lab. Plain data: it is stored in the broker's folder, so
 * that another process can kill it and start it again.
 */
export interface NativePlan {
  name: BrokerName;
  /** Its data, its settings and its log. */
  folder: string;
  /**
   * A folder that the broker creates, which exists as long as its data do. A plan of an older lab
   * has none.
   */
  data?: string;
  address: string;
  managementUrl?: string;
  proxied?: ProxiedListener;
  /** All ports that it listens on. */
  ports: number[];
  command: string[];
  env: Record<string, string>;
  /** As far as known before it runs. */
  versions: Record<string, string>;
}

/** An error for lost data of a broker: only a fresh start of its model helps. */
export function dataLost(why: string): Error {
  return Object.assign(new Error(why), { code: DATA_LOST });
}

export const DATA_LOST = "DATA_LOST";
