import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { Model } from "@lab/evidence/evidence";
import { byLength } from "@lab/evidence/settings";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import type { Operation } from "@lab/lab/load/history";
import { factsOf } from "@lab/lab/brokers/model-facts";
import type { ServiceProcess } from "@lab/lab/services/processes";
import { trialOf } from "@lab/lab/experiment/trial";
import { eventually, nowUs, sample, type Sampler } from "@lab/lab/host/waiting";
import { count } from "@lab/lab/probes/databases";
import { setFaults } from "@lab/lab/services/set-faults";
import { answersTable, judge, PATIENT } from "../common.ts";
import { holdsBounded, memoryMib, MOST_MEMORY_MIB } from "./memory.ts";

const FLOOD_S = byLength({ short: 3, full: 12, long: 60 });
/** Slower by this, a service with 1,000 requests at once gets through 500 a second. */
const DELAY_MS = 2_000;
const RATE_PER_S = 1_000;
/** Requests that a service works on at once: MAX_IN_FLIGHT in packages/runtime/http/app.ts. */
const MOST_AT_ONCE = 1_000;
const ACCEPTED_PER_S = MOST_AT_ONCE / (DELAY_MS / 1_000);
/** At once, on a slow machine: by then every request of the flood has its answer. */
const MOST_RECOVERY_MS = 2_000;

/** What Inventory takes of the orders that wait for it at a broker: fewer than are accepted. */
const TAKEN_PER_S = 200;

/** Twice as many orders as the order service can take, for a while. */
export function testOverload(model: Model): void {
  const { concurrency = 0 } = factsOf(model).broker ?? {};
  const throttleMs = (1_000 / TAKEN_PER_S) * concurrency;
  const queued = throttleMs > 0;
  experiment(
    {
      name: "overload",
      model,
      question: "More orders than it can take: does it refuse in time, or grow until it dies?",
      method: `The order service is ${DELAY_MS} ms slower, so that ${MOST_AT_ONCE} requests at once are ${ACCEPTED_PER_S} orders/s; ${RATE_PER_S} orders/s for ${FLOOD_S} s from a process of its own, open loop.${queued ? ` Inventory takes ${TAKEN_PER_S} of them a second; the others wait at the broker.` : ""} Then it is lifted. Every service's memory is sampled.`,
      disproof: `An answer other than success, a business no or 503 overloaded with Retry-After; an order stored though it was refused; a service over ${MOST_MEMORY_MIB} MiB; no order accepted within ${MOST_RECOVERY_MS / 1_000} s once it is lifted.`,
      requirements: [],
      parameters: { rate_per_s: RATE_PER_S, flood_s: FLOOD_S, delay_ms: DELAY_MS },
    },
    async (run) => {
      await using trial = await trialOf(run, "overload", { env: PATIENT });
      const { inventory, order, services } = trial.campus;
      await setDelay(order, DELAY_MS);
      if (queued) await setDelay(inventory, throttleMs);
      const memory = services.map((service) => sample(() => memoryMib(service.pid)));
      const flooding = flood(run, order, RATE_PER_S, FLOOD_S);
      await eventually("the service refuses", () => refusal(order), { everyMs: 200 });
      const flooded = await flooding;
      const waiting = count(order, "SELECT count(*) FROM orders WHERE status = 'placed'");
      await Promise.all([setDelay(order, 0), setDelay(inventory, 0)]);
      const overUs = nowUs();
      await eventually("an order is accepted", async () => (await trial.send()).kind === "ok");
      const recoveredMs = Math.round((nowUs() - overUs) / 1_000);
      for (const operation of flooded.operations) run.history.operations.push(operation);
      await judge(run, trial, { kills: 0, faults: 1 });
      await Promise.all(memory.map((sampler) => sampler.stop()));
      memorySeries(run, services, memory);
      holdsBounded(run, services, memory);
      answersTable(run, trial);
      const answers = new Set(trial.operations.map(({ status, code }) => code ?? status));
      run.holds(
        "every answer is clear",
        [...answers].filter((answer) => !CLEAR.has(answer ?? "")),
        [],
      );
      const refused = flooded.operations.filter(({ code }) => code === "overloaded").length;
      run.holds("it refused what was too much", refused > 0, true);
      run.holds(
        "what was refused was not stored",
        count(order, "SELECT count(*) FROM orders"),
        trial.operations.length - refused,
      );
      run.holds(
        `an order is accepted within ${MOST_RECOVERY_MS / 1_000} s once it is lifted`,
        recoveredMs <= MOST_RECOVERY_MS,
        true,
      );
      if (queued) {
        const more = (ACCEPTED_PER_S - TAKEN_PER_S) * FLOOD_S;
        run.holds("half of what came too fast or more waited", waiting >= more / 2, true);
      }
      run.figure("refused", refused);
      run.figure("most_at_once", flooded.maxInFlight);
      run.figure("recovered_ms", recoveredMs);
      run.figure("waiting_at_its_end", waiting);
    },
  );
}

const CLEAR = new Set<string | number>([201, 202, "unknown_item", "overloaded"]);

/** Orders at that rate for that long from a process of its own: one sends only so many at once. */
export async function flood(
  run: Run,
  { url }: ServiceProcess,
  ratePerS: number,
  durationS: number,
): Promise<{ operations: Operation[]; maxInFlight: number }> {
  const file = join(run.folder, "flood.jsonl");
  rmSync(file, { force: true });
  const words = [url, ratePerS, durationS, run.seed + 1, file].map(String);
  await using child = Bun.spawn([process.execPath, join(import.meta.dir, "flood.ts"), ...words], {
    env: { ...process.env, BUN_CONFIG_MAX_HTTP_REQUESTS: "8192" },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const told = await child.stdout.text();
  if ((await child.exited) !== 0) throw new Error("the flood failed");
  const lines = readFileSync(file, "utf8").trimEnd().split("\n");
  const { maxInFlight } = JSON.parse(told) as { maxInFlight: number };
  return { operations: lines.map((line) => JSON.parse(line) as Operation), maxInFlight };
}

/** Whether an order is refused as it should be. Without a body it can't be stored. */
async function refusal({ url }: ServiceProcess): Promise<boolean> {
  const answer = await fetch(`${url}/order`, { method: "POST" });
  const { code } = (await answer.json()) as { code: string };
  if (code !== "overloaded") throw new Error(code);
  return answer.status === 503 && answer.headers.get("retry-after") === "1";
}

async function setDelay(service: ServiceProcess, delayMs: number): Promise<void> {
  // Over a limit that it is about itself, it may take a while.
  await eventually("the delay is set", async () => {
    await setFaults(service, { delay_ms: delayMs });
    return true;
  });
}

function memorySeries(run: Run, services: ServiceProcess[], memory: Sampler<number>[]): void {
  run.series({
    id: "memory",
    title: "Resident memory",
    x: { name: "time", unit: "s" },
    y: { name: "memory", unit: "MiB" },
    lines: services.map(({ name }, n) => ({ name, points: memory[n]?.points ?? [] })),
    shaded: [{ label: "flood", from: 0, to: FLOOD_S }],
  });
}
