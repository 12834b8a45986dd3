import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import type { Broker, NativePlan, ProxiedListener } from "./broker.ts";
import { brokerCommand, kafkaVersion, prepareKafka } from "./kafka/kafka-jars.ts";
import { kafkaSettings, type KafkaPorts } from "./kafka/kafka-settings.ts";
import { freshFolder } from "../host/lifeline.ts";
import { runNative } from "./native.ts";
import { freePorts } from "../host/ports.ts";

/**
 * Writes the settings of a private one-node Kafka (KRaft) into the folder;
 * returns how to run it. Throws as `prepareKafka` does.
 */
export async function planKafka(folder: string, ports: KafkaPorts): Promise<NativePlan> {
  const { client, controller, proxied } = ports;
  const { archive, classPath, formatted, java } = await prepareKafka();
  await cp(formatted, join(folder, "data"), { recursive: true });
  await mkdir(join(folder, "tmp"), { recursive: true });
  await writeFile(join(folder, "server.properties"), kafkaSettings("data", ports));
  const archived = archive === undefined ? [] : [`-XX:SharedArchiveFile=${archive}`];
  return {
    name: "kafka",
    folder,
    data: join(folder, "data", "__cluster_metadata-0"),
    address: `127.0.0.1:${client}`,
    ...(proxied && { proxied }),
    ports: [client, controller, ...(proxied ? [proxied.listener] : [])],
    command: brokerCommand(java, classPath, ...archived),
    env: {},
    versions: { kafka: kafkaVersion, java: java.version },
  };
}

/**
 * Throws unless the broker answers and is ready to create topics. It doesn't report its version.
 */
export async function probeKafka(address: string): Promise<Record<string, string>> {
  const kafka = new Kafka({
    clientId: "lab",
    brokers: address.split(","),
    connectionTimeout: 2_000,
    requestTimeout: 5_000,
    retry: { retries: 0 },
    logLevel: logLevel.NOTHING,
  });
  const admin = kafka.admin();
  try {
    await admin.connect();
    const { brokers, controller } = await admin.describeCluster();
    if (brokers.length === 0 || controller === null)
      throw new Error("Kafka has no active controller yet");
    return {};
  } finally {
    await admin.disconnect();
  }
}

/**
 * A private Kafka with a second listener, which advertises the port of a proxy in front of it. The
 * broker's own address bypasses the proxy. Ends with this process.
 */
export async function startProxiedKafka(proxied: ProxiedListener): Promise<Broker> {
  const [client, controller] = (await freePorts(2)) as [number, number];
  await prepareKafka();
  const folder = await freshFolder("kafka");
  const plan = await planKafka(folder, { client, controller, proxied });
  return runNative(plan, folder, ({ address }) => probeKafka(address));
}
