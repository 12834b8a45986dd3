/** What a broker is to the lab, whatever it runs as. */
export type BrokerName = "rabbitmq" | "kafka";

/** A broker that answers, and the means to hurt it. */
export interface Broker extends AsyncDisposable {
  readonly kind: "external" | "compose" | "native";
  readonly name: BrokerName;
  /** `amqp://user:password@127.0.0.1:port`, or `127.0.0.1:port`. */
  readonly address: string;
  /** RabbitMQ's management page and API: `http://127.0.0.1:port`, with the user and password of `address`. */
  readonly managementUrl?: string | undefined;
  /** Of one of ours, for other processes to find it: what they need to know, and of a native one data, settings and log. */
  readonly folder?: string;
  /** `{rabbitmq, erlang}`, or `{kafka, java}`; what is known of it. */
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

/** The environment variable with the address of a broker that somebody else runs. */
export const addressVariable = {
  rabbitmq: "AMQP_URL",
  kafka: "KAFKA_BROKERS",
} as const;

/**
 * How to run one broker as a process of our own. Plain data: it stands in the
 * broker's folder, so that another process can kill it and start it again.
 */
export interface NativePlan {
  name: BrokerName;
  /** Its data, its settings and its log. */
  folder: string;
  /** A folder of its own making, which is there as long as its data are. A plan of an older lab has none. */
  data?: string;
  address: string;
  managementUrl?: string;
  /** All that it listens on. */
  ports: number[];
  command: string[];
  env: Record<string, string>;
  /** As far as they are known before it runs. */
  versions: Record<string, string>;
}

/** An error that says why a broker's data can't be had any more: only a fresh start of its model helps. */
export function dataLost(why: string): Error {
  return Object.assign(new Error(why), { code: DATA_LOST });
}

export const DATA_LOST = "DATA_LOST";
