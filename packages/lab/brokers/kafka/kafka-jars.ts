import { existsSync, globSync } from "node:fs";
import { cp, mkdir, rename, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { type Found, jvmEnv, provide } from "../../machine/doctor.ts";
import { runQuietly } from "../../host/run.ts";
import { labFolder } from "@lab/evidence/folders";
import { kafkaSettings } from "./kafka-settings.ts";
import {
  freshFolder,
  holdLifeline,
  killGroup,
  releaseLifeline,
  removeFolder,
  spawnUnderLifeline,
} from "../../host/lifeline.ts";
import { freePorts } from "../../host/ports.ts";

/** The version that kafka/pom.xml pins. */
export const kafkaVersion = "4.2.0";

/** The folder of the downloaded jars. */
export const kafkaFolder = join(labFolder, `kafka-${kafkaVersion}`);

// The lab's broker is small and short-lived: start time and memory matter, the last few percent of
// throughput don't.
const jvmOptions = [
  "-Xmx512m",
  "-XX:+UseSerialGC",
  "-XX:TieredStopAtLevel=1",
  "-XX:-UsePerfData",
  "-Djava.awt.headless=true",
];

/** A broker that isn't up by then, on a busy machine too, leaves no class archive. */
const ARCHIVE_MS = 60_000;

export interface PreparedKafka {
  java: Found;
  /** Relative to the broker's folder: a colon in the clone's path would split it. */
  classPath: string;
  /** An empty, formatted data folder to copy: formatting takes a JVM half a second. */
  formatted: string;
  /**
   * An archive of a broker's loaded classes (CDS), which saves almost half of what a start costs;
   * undefined where the JVM creates none. Also relative to the broker's folder.
   */
  archive: string | undefined;
}

/** Runs a broker in its folder, by the `server.properties` there. */
export function brokerCommand(java: Found, classPath: string, ...options: string[]): string[] {
  return [
    java.path,
    ...jvmOptions,
    ...options,
    "-Djava.io.tmpdir=tmp",
    // Without it, it logs nothing.
    "-Dorg.apache.logging.log4j.level=INFO",
    "-cp",
    classPath,
    "kafka.Kafka",
    "server.properties",
  ];
}

/** Whether Kafka's jars have been fetched. */
export function hasKafkaJars(): boolean {
  return existsSync(kafkaFolder);
}

/**
 * Fetches Kafka's jars and formats an empty data folder, each once. Throws when
 * Java, or Maven with jars to fetch, is missing and can't be installed.
 */
export async function prepareKafka(): Promise<PreparedKafka> {
  if (!hasKafkaJars()) {
    const { java, maven } = await provide(["java", "maven"]);
    await make(kafkaFolder, (part) => fetchJars(part, java, maven));
  }
  const { java } = await provide(["java"]);
  // Sorted: a class data archive is valid only for exactly the same class path.
  const jars = globSync("libs/*.jar", { cwd: kafkaFolder }).toSorted();
  // Every broker's folder, including `part` below, is at the same depth in .lab.
  const fromBroker = relative(join(labFolder, "brokers", "kafka"), kafkaFolder);
  const classPath = jars.map((jar) => join(fromBroker, jar)).join(":");
  const folder = join(kafkaFolder, `java-${java.version}`);
  await make(folder, (part) => format(part, java, classPath));
  const archive = join(folder, "classes.jsa");
  return {
    java,
    classPath,
    formatted: join(folder, "formatted"),
    archive: existsSync(archive) ? join(fromBroker, relative(kafkaFolder, archive)) : undefined,
  };
}

/**
 * Fills the folder under another name first, so that an interrupted one isn't taken for complete.
 */
async function make(folder: string, fill: (part: string) => Promise<void>): Promise<void> {
  if (existsSync(folder)) return;
  const part = await freshFolder("kafka");
  holdLifeline(part);
  try {
    await fill(part);
    await mkdir(dirname(folder), { recursive: true });
    await rename(join(part, "made"), folder);
  } catch (error) {
    // Another lab process may have been faster.
    if (!existsSync(folder)) throw error;
  } finally {
    releaseLifeline(part);
    await removeFolder(part);
  }
}

async function fetchJars(part: string, java: Found, maven: Found): Promise<void> {
  process.stderr.write(`fetching Kafka ${kafkaVersion} from Maven Central, once (55 MB) …\n`);
  const pom = join(part, "pom.xml");
  await cp(join(import.meta.dir, "pom.xml"), pom);
  const goal = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies";
  const libs = join(part, "made", "libs");
  await runQuietly(
    [
      maven.path,
      "--batch-mode",
      "--no-transfer-progress",
      `--file=${pom}`,
      goal,
      "-DincludeScope=runtime",
      `-DoutputDirectory=${libs}`,
    ],
    {
      env: { LC_ALL: "C.UTF-8", JAVA_HOME: java.path.replace(/\/bin\/java$/, "") },
      lifeline: part,
    },
  );
}

async function format(part: string, java: Found, classPath: string): Promise<void> {
  const made = join(part, "made");
  await mkdir(made);
  const [client, controller] = (await freePorts(2)) as [number, number];
  const settingsFor = (data: string) =>
    writeFile(join(part, "server.properties"), kafkaSettings(data, { client, controller }));
  await settingsFor("made/formatted");
  const random = crypto.getRandomValues(new Uint8Array(16));
  const clusterId = Buffer.from(random).toString("base64url");
  await runQuietly(
    [
      java.path,
      ...jvmOptions,
      "-cp",
      classPath,
      "kafka.tools.StorageTool",
      "format",
      // An id may begin with a dash.
      `--cluster-id=${clusterId}`,
      "--config=server.properties",
    ],
    { cwd: part, env: jvmEnv, lifeline: part },
  );
  await cp(join(made, "formatted"), join(part, "data"), { recursive: true });
  await mkdir(join(part, "tmp"));
  await settingsFor("data");
  await archiveClasses(part, java, classPath);
}

/**
 * Starts a broker, and stops it when it is up: the JVM archives its classes as it ends. Leaves no
 * archive where that doesn't succeed.
 */
async function archiveClasses(part: string, java: Found, classPath: string): Promise<void> {
  const command = brokerCommand(java, classPath, "-XX:ArchiveClassesAtExit=made/classes.jsa");
  const env = { ...process.env, ...jvmEnv };
  const broker = spawnUnderLifeline(part, command, { cwd: part, env, output: "pipe" });
  const end = () => killGroup(broker.pid);
  const timer = setTimeout(end, ARCHIVE_MS);
  // Its watcher holds the pipe, too.
  void broker.exited.then(end);
  let log = "";
  for await (const text of broker.stdout.pipeThrough(new TextDecoderStream())) {
    log += text;
    if (log.includes("Kafka Server started")) broker.kill();
  }
  clearTimeout(timer);
}
