import { existsSync, globSync } from "node:fs";
import { cp, mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import { type Found, provide, runQuietly } from "./doctor.ts";
import { labFolder } from "./folders.ts";
import type { NativePlan } from "./native.ts";

const kafkaVersion = "4.2.0";

export interface KafkaPorts {
  client: number;
  controller: number;
}

/** Where the jars are, or will be once they are fetched. */
export const kafkaFolder = join(labFolder, `kafka-${kafkaVersion}`);

/** Whether Kafka's jars have been fetched. */
export function hasKafkaJars(): boolean {
  return existsSync(kafkaFolder);
}

// A lab's broker is small and short-lived: start time and memory count, the last percents of throughput don't.
const jvmOptions = [
  "-Xmx512m",
  "-XX:+UseSerialGC",
  "-XX:TieredStopAtLevel=1",
  "-XX:-UsePerfData",
  "-Djava.awt.headless=true",
];

/**
 * Writes the settings of a private one-node Kafka (KRaft) into the folder; returns how to run it. Fetches the jars if they aren't there.
 * Throws when Java, or Maven with jars to fetch, is missing.
 */
export async function planKafka(
  folder: string,
  ports: KafkaPorts,
): Promise<NativePlan> {
  const { java } = hasKafkaJars()
    ? await provide(["java"])
    : await provide(["java", "maven"]);
  if (!hasKafkaJars()) await fetchJars(java);
  const prepared = await prepare(java);
  const data = join(folder, "data");
  await cp(prepared.formatted, data, { recursive: true });
  await mkdir(join(folder, "tmp"), { recursive: true });
  const settings = join(folder, "server.properties");
  await writeFile(settings, serverProperties(data, ports));
  return {
    name: "kafka",
    folder,
    address: `127.0.0.1:${ports.client}`,
    command: [
      java.path,
      ...jvmOptions,
      ...(existsSync(prepared.archive)
        ? [`-XX:SharedArchiveFile=${prepared.archive}`]
        : []),
      `-Djava.io.tmpdir=${join(folder, "tmp")}`,
      "-Dorg.apache.logging.log4j.level=INFO",
      "-cp",
      classPath(),
      "kafka.Kafka",
      settings,
    ],
    env: {},
    versions: { kafka: kafkaVersion, java: java.version },
  };
}

/** Throws unless the broker answers and is ready to create topics. It doesn't tell its version. */
export async function greetKafka(
  address: string,
): Promise<Record<string, string>> {
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

function serverProperties(data: string, ports: KafkaPorts): string {
  return `process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:${ports.controller}
listeners=PLAINTEXT://127.0.0.1:${ports.client},CONTROLLER://127.0.0.1:${ports.controller}
advertised.listeners=PLAINTEXT://127.0.0.1:${ports.client}
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=${data}
# The models create their topics themselves; a misspelt name is an error.
auto.create.topics.enable=false
# A single node can't keep copies.
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# Groups of one or two members: nobody else to wait for.
group.initial.rebalance.delay.ms=0
# Retention goes by the records' own times. A stream that is said to be of last year would be deleted minutes after it was produced.
log.retention.ms=-1
# After a SIGKILL the node has to wait until its former self counts as dead: 9 s by default.
broker.session.timeout.ms=2000
broker.heartbeat.interval.ms=500
# 128 MiB by default, and taken at once.
log.cleaner.dedupe.buffer.size=4194304
`;
}

// Sorted: an archive of loaded classes is good for the very same class path only.
function classPath(): string {
  return globSync(join(kafkaFolder, "libs", "*.jar"))
    .toSorted()
    .join(":");
}

async function fetchJars(java: Found): Promise<void> {
  console.error(
    `fetching Kafka ${kafkaVersion} from Maven Central, once (55 MB) …`,
  );
  await mkdir(labFolder, { recursive: true });
  // Into a folder of another name, so that an interrupted fetch isn't taken for a complete one.
  const temporary = await mkdtemp(`${kafkaFolder}.part-`);
  try {
    await cp(
      join(import.meta.dir, "kafka", "pom.xml"),
      join(temporary, "pom.xml"),
    );
    await runQuietly(
      "mvn",
      [
        "-B",
        "-ntp",
        "-f",
        join(temporary, "pom.xml"),
        "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies",
        "-DincludeScope=runtime",
        `-DoutputDirectory=${join(temporary, "libs")}`,
      ],
      { JAVA_HOME: java.path.replace(/\/bin\/java$/, "") },
    );
    await rename(temporary, kafkaFolder);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    // Another lab process may have been quicker.
    if (!hasKafkaJars()) throw error;
  }
}

/**
 * An empty, formatted data folder to copy (formatting takes a JVM half a second), and an archive of Kafka's classes, loaded while formatting, which
 * takes a third off each start. Both are made once per Java version.
 */
async function prepare(
  java: Found,
): Promise<{ formatted: string; archive: string }> {
  const folder = join(kafkaFolder, `java-${java.version}`);
  const prepared = {
    formatted: join(folder, "formatted"),
    archive: join(folder, "classes.jsa"),
  };
  if (existsSync(folder)) return prepared;
  const temporary = await mkdtemp(`${folder}.part-`);
  try {
    const settings = join(temporary, "server.properties");
    await writeFile(
      settings,
      serverProperties(join(temporary, "formatted"), {
        client: 9092,
        controller: 9093,
      }),
    );
    const clusterId = Buffer.from(
      crypto.getRandomValues(new Uint8Array(16)),
    ).toString("base64url");
    await runQuietly(java.path, [
      ...jvmOptions,
      `-XX:ArchiveClassesAtExit=${join(temporary, "classes.jsa")}`,
      "-cp",
      classPath(),
      "kafka.tools.StorageTool",
      "format",
      "--cluster-id",
      clusterId,
      "--config",
      settings,
    ]);
    await rename(temporary, folder);
  } catch (error) {
    await rm(temporary, { recursive: true, force: true });
    if (!existsSync(folder)) throw error;
  }
  return prepared;
}
