import { readFileSync } from "node:fs";
import type { Run } from "@lab/lab/experiment/experiment";
import type { ServiceProcess } from "@lab/lab/services/processes";
import type { Sampler } from "@lab/lab/host/waiting";

/** What the compose files give a service (mem_limit). At rest it takes some 80 MiB. */
export const MOST_MEMORY_MIB = 256;

/** Resident memory. A small Linux has no `ps`, macOS no /proc. */
export function memoryMib(pid: number): number {
  const kib =
    process.platform === "linux"
      ? /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]
      : Bun.spawnSync(["ps", "-o", "rss=", "-p", `${pid}`])
          .stdout.toString()
          .trim();
  if (!kib) throw new Error(`no memory of process ${pid} is known`);
  return Math.round(Number(kib) / 1_024);
}

/** What `memory` sampled of each service: a table, and that none took more than its container has. */
export function holdsBounded(
  run: Run,
  services: readonly ServiceProcess[],
  memory: readonly Sampler<number>[],
): void {
  const peaks = memory.map(({ points }) => Math.max(...points.map(([, mib]) => mib)));
  run.table({
    id: "memory",
    title: "Resident memory",
    columns: [
      { name: "service" },
      { name: "at first", unit: "MiB" },
      { name: "peak", unit: "MiB" },
    ],
    rows: services.map(({ name }, n) => [name, memory[n]?.points[0]?.[1] ?? 0, peaks[n] ?? 0]),
  });
  run.holds(
    "every service's memory was sampled",
    services.filter((_, n) => (memory[n]?.points.length ?? 0) < 2).map(({ name }) => name),
    [],
  );
  run.holds(
    `no service takes more than ${MOST_MEMORY_MIB} MiB`,
    services.filter((_, n) => (peaks[n] ?? 0) > MOST_MEMORY_MIB).map(({ name }) => name),
    [],
  );
}
