import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import { jvmOptions, kafkaVersion, prepareKafka } from "./kafka-jars.ts";
import { kafkaSettings, type KafkaPorts } from "./kafka-settings.ts";
import type { NativePlan } from "./native.ts";

/**
 * Writes the settings of a private one-node Kafka (KRaft) into the folder;
 * returns how to run it. Throws as `prepareKafka` does.
 */
export async function planKafka(folder: string, ports: KafkaPorts): Promise<NativePlan> {
  const { archive, classPath, formatted, java } = await prepareKafka();
  const data = join(folder, "data");
  await cp(formatted, data, { recursive: true });
  await mkdir(join(folder, "tmp"), { recursive: true });
  const settings = join(folder, "server.properties");
  await writeFile(settings, kafkaSettings(data, ports));
  return {
    name: "kafka",
    folder,
    address: `127.0.0.1:${ports.client}`,
    command: [
      java.path,
      ...jvmOptions,
      ...(archive === undefined ? [] : [`-XX:SharedArchiveFile=${archive}`]),
      `-Djava.io.tmpdir=${join(folder, "tmp")}`,
      "-Dorg.apache.logging.log4j.level=INFO",
      "-cp",
      classPath,
      "kafka.Kafka",
      settings,
    ],
    env: {},
    versions: { kafka: kafkaVersion, java: java.version },
  };
}

/** Throws unless the broker answers and is ready to create topics. It doesn't tell its version. */
export async function greetKafka(address: string): Promise<Record<string, string>> {
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
