import { spawnSync } from "node:child_process";
import { existsSync, globSync, realpathSync } from "node:fs";
import { type Look, lookForDocker } from "./compose-engine.ts";
import { runQuietly } from "../host/run.ts";
import { settings } from "@lab/evidence/settings";

/** A program that the lab runs but doesn't include. */
export type Tool = "rabbitmq" | "java" | "maven" | "chromium";

export interface Found {
  path: string;
  version: string;
}

interface ToolFacts {
  title: string;
  find: () => Found | undefined;
  apt: () => string;
  brew: string;
}

/**
 * JVM variables meant for other programs could end our JVM or change it. The clone's path may have
 * characters that a JVM with another locale can't read.
 */
export const jvmEnv = {
  LC_ALL: "C.UTF-8",
  JAVA_TOOL_OPTIONS: undefined,
  JDK_JAVA_OPTIONS: undefined,
  _JAVA_OPTIONS: undefined,
};

const tools: Record<Tool, ToolFacts> = {
  rabbitmq: {
    title: "RabbitMQ 3.10 or newer",
    find: findRabbitmq,
    apt: () => "rabbitmq-server",
    brew: "rabbitmq",
  },
  java: {
    title: "Java 17 or newer",
    find: findJava,
    apt: javaPackage,
    brew: "openjdk",
  },
  maven: {
    title: "Maven (once, for Kafka's jars)",
    find: findMaven,
    apt: () => "maven",
    brew: "maven",
  },
  chromium: {
    title: "Chromium or Chrome",
    find: findChromium,
    apt: () => "chromium",
    brew: "chromium",
  },
};

/**
 * Where each of those programs is. On Debian and Ubuntu, as root and unless LAB_INSTALL=no, missing
 * ones are announced and installed with apt. Otherwise throws one error with the commands to type,
 * and with `why` they are needed.
 */
export async function provide<T extends Tool>(
  wanted: readonly T[],
  why?: string,
): Promise<Record<T, Found>> {
  let missing = wanted.filter((tool) => tools[tool].find() === undefined);
  if (missing.length > 0 && canInstall()) {
    await install(missing);
    missing = wanted.filter((tool) => tools[tool].find() === undefined);
  }
  if (missing.length > 0) {
    throw new Error([whatToType(missing), ...(why === undefined ? [] : [why])].join("\n"));
  }
  return Object.fromEntries(wanted.map((tool) => [tool, tools[tool].find()!])) as Record<T, Found>;
}

/** The commands that install them, under a line that says that they are missing. */
export function whatToType(missing: readonly Tool[]): string {
  const titles = missing.map((tool) => tools[tool].title).join(", ");
  return `missing: ${titles}
${commandsFor(missing)}`;
}

function commandsFor(missing: readonly Tool[]): string {
  const apt = missing.map((tool) => tools[tool].apt()).join(" ");
  const brew = missing.map((tool) => tools[tool].brew).join(" ");
  return `  Debian, Ubuntu:  sudo apt-get install -y ${apt}
  Homebrew:        brew install ${brew}`;
}

function canInstall(): boolean {
  return (
    process.getuid?.() === 0 && existsSync("/usr/bin/apt-get") && settings().labInstall !== "no"
  );
}

async function install(missing: readonly Tool[]): Promise<void> {
  const aptGet = (...words: string[]) =>
    runQuietly(["apt-get", "-qq", "-o", "DPkg::Lock::Timeout=120", ...words], {
      env: { DEBIAN_FRONTEND: "noninteractive" },
    });
  await aptGet("update");
  const packages = missing.map((tool) => tools[tool].apt());
  process.stderr.write(
    `installing with apt-get: ${packages.join(" ")} (LAB_INSTALL=no forbids it)\n`,
  );
  // Debian's RabbitMQ package may start a node on port 5672: the lab neither uses nor changes it.
  await aptGet("install", "-y", "--no-install-recommends", ...packages);
}

function findRabbitmq(): Found | undefined {
  // Not /usr/sbin/rabbitmq-server: Debian's is a wrapper that switches to the user of the system's node.
  const candidates = [
    ...globSync("/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"),
    "/opt/homebrew/opt/rabbitmq/sbin/rabbitmq-server",
    "/usr/local/opt/rabbitmq/sbin/rabbitmq-server",
    "/home/linuxbrew/.linuxbrew/opt/rabbitmq/sbin/rabbitmq-server",
  ];
  return candidates.flatMap((path) => {
    if (!existsSync(path)) return [];
    const version = /rabbitmq(?:_server)?[-/](\d+\.\d+\.\d+)/.exec(realpathSync(path))?.[1];
    return version === undefined || Bun.semver.order(version, "3.10.0") < 0
      ? []
      : [{ path, version }];
  })[0];
}

function findJava(): Found | undefined {
  const candidates = [
    ...(process.env["JAVA_HOME"] ? [`${process.env["JAVA_HOME"]}/bin/java`] : []),
    ...(Bun.which("java") === null ? [] : [Bun.which("java")!]),
    "/opt/homebrew/opt/openjdk/bin/java",
    "/usr/local/opt/openjdk/bin/java",
    ...globSync("/usr/lib/jvm/*/bin/java"),
  ];
  for (const path of candidates) {
    if (!existsSync(path)) continue;
    const version = /version "(\d+[^"]*)"/.exec(
      spawnSync(path, ["-version"], { encoding: "utf8", env: { ...process.env, ...jvmEnv } })
        .stderr,
    )?.[1];
    if (version !== undefined && Number.parseInt(version) >= 17)
      return { path: realpathSync(path), version };
  }
  return undefined;
}

function findMaven(): Found | undefined {
  const path = Bun.which("mvn");
  if (path === null) return undefined;
  // `mvn --version` starts a JVM, and fails where there is no Java yet: the version isn't needed.
  return { path, version: "" };
}

function findChromium(): Found | undefined {
  const onPath = ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"];
  const apps = ["Chromium", "Google Chrome"].map(
    (name) => `/Applications/${name}.app/Contents/MacOS/${name}`,
  );
  const path = [...onPath.flatMap((name) => Bun.which(name) ?? []), ...apps].find(existsSync);
  // Each release of the last years does; asking for its version would start it.
  return path === undefined ? undefined : { path, version: "" };
}

/** Where that program is; undefined where it is missing. */
export function findTool(tool: Tool): Found | undefined {
  return tools[tool].find();
}

// The default JRE of an older Ubuntu is Java 11, although its archive has a newer one.
function javaPackage(): string {
  const known = (name: string) =>
    /Candidate: \d/.test(spawnSync("apt-cache", ["policy", name], { encoding: "utf8" }).stdout);
  return (
    ["openjdk-21-jre-headless", "openjdk-17-jre-headless"].find(known) ?? "default-jre-headless"
  );
}

/** Something that the lab needs or can use on this machine. */
export interface Finding {
  title: string;
  /** Version and place; undefined when it is missing. */
  found: string | undefined;
  /** What doesn't work without it, and what to type. */
  otherwise: string;
  /** Whether the lab can't do without it. */
  needed: boolean;
}

/** Checks what this machine has. `jars` is the folder of Kafka's jars, if they exist. */
export function examine(jars: string | undefined): Finding[] {
  const finding = (tool: Tool, needed: boolean, otherwise: string) => ({
    title: tools[tool].title,
    found: describe(tools[tool].find()),
    otherwise: `${otherwise}. Type:\n${commandsFor([tool])}`,
    needed,
  });
  const docker = lookForDocker();
  const needed = "problem" in docker.engine || "problem" in docker.compose;
  const needs = (what: string) => (needed ? "needed" : `Docker runs the brokers, but ${what}`);
  const byKafka = needs("needed by lab test, lab proof and lab chaos");
  return [
    {
      title: "Bun 1.3.14 or newer",
      found: `${Bun.version}  ${process.execPath}`,
      otherwise: "",
      needed: true,
    },
    finding("rabbitmq", needed, needs("needed by lab test, unless it is lab test --compose")),
    finding("java", needed, byKafka),
    {
      title: "Kafka's jars",
      found: jars,
      otherwise: "fetched with Maven when Kafka starts first",
      needed: false,
    },
    finding(
      "maven",
      needed && jars === undefined,
      jars === undefined ? byKafka : "no longer needed: the jars are there",
    ),
    dockerFinding("Docker engine", docker.engine),
    dockerFinding("Docker Compose", docker.compose),
    finding(
      "chromium",
      false,
      "needed by lab test, for the report as PDF and the hand-in's screenshots",
    ),
  ];
}

function describe(found: Found | undefined): string | undefined {
  return found && `${found.version}  ${found.path}`.trim();
}

function dockerFinding(title: string, look: Look): Finding {
  const found = "version" in look ? look.version : undefined;
  const otherwise =
    "problem" in look ? `brokers are processes of this machine: ${look.problem}` : "";
  return { title, found, otherwise, needed: false };
}
