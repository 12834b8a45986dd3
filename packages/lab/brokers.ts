import { externalBroker } from './external.ts';
import { startKafka, upKafka } from './kafka.ts';
import { startRabbitmq, upRabbitmq } from './rabbitmq.ts';

export type BrokerName = 'rabbitmq' | 'kafka';

/** A broker that answers, and the means to hurt it. */
export interface Broker extends AsyncDisposable {
  readonly kind: 'external' | 'compose' | 'native';
  readonly name: BrokerName;
  /** `amqp://user:password@127.0.0.1:port`, or `127.0.0.1:port`. */
  readonly address: string;
  /** RabbitMQ's management page and API: `http://127.0.0.1:port`, with the user and password of `address`. */
  readonly managementUrl?: string;
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

/**
 * A running broker: the one of `AMQP_URL` or `KAFKA_BROKERS`, else what `lab up` left running, else a private one that ends with this process.
 * `LAB_BROKERS` (external, compose or native) forces one of them. Throws with the commands to type when there is no way.
 */
export async function startBroker(name: BrokerName): Promise<Broker> {
  const forced = process.env['LAB_BROKERS'] || undefined;
  const address = process.env[name === 'rabbitmq' ? 'AMQP_URL' : 'KAFKA_BROKERS'] || undefined;
  switch (forced) {
    case 'external':
    case 'native':
    case undefined:
      break;
    case 'compose':
      throw new Error('LAB_BROKERS=compose: the compose files are not there yet');
    default:
      throw new Error(`LAB_BROKERS must be external, compose or native, not ${forced}`);
  }
  if (forced === 'external' && address === undefined) {
    throw new Error(`LAB_BROKERS=external needs ${name === 'rabbitmq' ? 'AMQP_URL=amqp://user:password@host:5672' : 'KAFKA_BROKERS=host:9092'}`);
  }
  if (address !== undefined && forced !== 'native') return externalBroker(name, address);
  const up = name === 'rabbitmq' ? await upRabbitmq() : await upKafka();
  if (up !== undefined) return up;
  // Docker Compose, where an engine answers, comes here.
  return name === 'rabbitmq' ? startRabbitmq() : startKafka();
}
