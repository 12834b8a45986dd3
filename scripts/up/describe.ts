import { type BrokerName } from "@lab/lab/brokers/broker";
import { brokerRuns } from "@lab/lab/brokers/brokers";
import { composePaused } from "@lab/lab/brokers/compose-broker";
import { externalBroker } from "@lab/lab/brokers/external";
import { fetchHealth, type ShownHealth } from "@lab/lab/services/health";
import { nativePid } from "@lab/lab/brokers/native";
import { isPaused } from "@lab/lab/host/process-id";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { models } from "@lab/evidence/experiments";
import { readState, serviceRuns, type UpBroker, type UpService } from "@lab/lab/brokers/state";
import { printable } from "@lab/runtime/printable";

/** A service of `status --json`. */
interface ServiceStatus {
  model: string;
  service: string;
  /** healthy, unhealthy (its answer to GET /health isn't 200, or there is none), paused (SIGSTOP) or ended. */
  status: "healthy" | "unhealthy" | "paused" | "ended";
  url: string;
  pid: number;
  database: string;
  log: string;
  /** As the service reports it; empty when it doesn't answer. */
  owed: ShownHealth["owed"];
  waits_for: ShownHealth["waits_for"];
  problems: ShownHealth["problems"];
}

/** A broker of `status --json`. */
interface BrokerStatus {
  broker: BrokerName;
  kind: UpBroker["kind"];
  /** unreachable: an external broker that doesn't answer. */
  status: "running" | "paused" | "ended" | "unreachable";
  /** AMQP URL with user and password, or Kafka's host:port. */
  address: string;
  management_url?: string;
  pid?: number;
  versions: Record<string, string>;
}

/** What `lab up` has started and how it is now. */
export async function statusUp(): Promise<{
  services: ServiceStatus[];
  brokers: BrokerStatus[];
}> {
  const { brokers, services } = await readState();
  return {
    services: await Promise.all(
      services.toSorted((a, b) => rank(a) - rank(b)).map(statusOfService),
    ),
    brokers: await Promise.all(
      Object.entries(brokers).map(([name, broker]) => statusOfBroker(name as BrokerName, broker)),
    ),
  };
}

/** The same as text for people. */
export async function describeUp(): Promise<string> {
  const { brokers, services } = await statusUp();
  if (brokers.length + services.length === 0) return "nothing is up";
  const lines: string[] = [];
  for (const model of new Set(services.map((one) => one.model))) {
    lines.push(model);
    for (const one of services.filter((one) => one.model === model)) {
      const { database, log, owed, pid, problems, service, status, url, waits_for } = one;
      lines.push(
        `  ${service.padEnd(20)}  ${status.padEnd(9)}  ${url}  pid ${pid}`,
        `  ${"".padEnd(20)}  ${database}`,
      );
      lines.push(`  ${"".padEnd(20)}  ${log}`);
      for (const [what, { count, oldest_s }] of Object.entries(owed)) {
        if (count === 0) continue;
        lines.push(`  ${"".padEnd(20)}  owed: ${count} ${what}, the oldest for ${oldest_s} s`);
      }
      for (const what of waits_for) lines.push(`  ${"".padEnd(20)}  waits for: ${what}`);
      for (const problem of problems) lines.push(`  ${"".padEnd(20)}  problem: ${problem}`);
    }
  }
  for (const one of brokers) {
    const { broker, kind, management_url: management, pid, status } = one;
    const process = pid === undefined ? "" : `  pid ${pid}`;
    lines.push(`${broker} (${kind})`, `  ${status.padEnd(9)}  ${one.address}${process}`);
    if (management !== undefined) {
      const { password, username } = new URL(one.address);
      lines.push(`  management page ${management}  user ${username}, password ${password}`);
    }
  }
  if ([...brokers, ...services].some(({ status }) => status === "ended")) {
    lines.push("scripts/lab up starts again what has ended, on its data");
  }
  return lines.map((line) => printable(line)).join("\n");
}

/** Sorts by model, and within a model in the order in which an order passes the services. */
function rank({ model, name }: UpService): number {
  const at = models.findIndex((one) => one.model === model);
  return at * 10 + factsOf(model).services.indexOf(name);
}

async function statusOfService(service: UpService): Promise<ServiceStatus> {
  const { database, log, model, name, pid, url } = service;
  const health = serviceRuns(service) ? await fetchHealth(url).catch(() => undefined) : undefined;
  const status = !serviceRuns(service)
    ? "ended"
    : isPaused(pid)
      ? "paused"
      : health?.status === "up"
        ? "healthy"
        : "unhealthy";
  const { owed = {}, waits_for = [], problems = [] } = health ?? {};
  return { model, service: name, status, url, pid, database, log, owed, waits_for, problems };
}

async function statusOfBroker(broker: BrokerName, up: UpBroker): Promise<BrokerStatus> {
  const { address, folder, kind, managementUrl, versions } = up;
  const pid = kind === "native" && folder !== undefined ? await nativePid(folder) : undefined;
  return {
    broker,
    kind,
    status: await lookAtBroker(broker, up, pid),
    address,
    ...(managementUrl === undefined ? {} : { management_url: managementUrl }),
    ...(pid === undefined ? {} : { pid }),
    versions,
  };
}

async function lookAtBroker(
  name: BrokerName,
  { address, folder }: UpBroker,
  pid: number | undefined,
): Promise<BrokerStatus["status"]> {
  if (folder === undefined) {
    const answers = externalBroker(name, address).then(() => true);
    return (await answers.catch(() => false)) ? "running" : "unreachable";
  }
  if (pid === undefined ? await composePaused(folder) : isPaused(pid)) return "paused";
  return (await brokerRuns(folder)) ? "running" : "ended";
}
