// Each service and broker: up, killed, paused, recovering.
import type { Model } from "@lab/evidence/evidence";
import { brokerRuns } from "@lab/lab/brokers/brokers";
import { composePaused } from "@lab/lab/brokers/compose-broker";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { nativePid } from "@lab/lab/brokers/native";
import { readState, serviceRuns, type UpBroker, type UpService } from "@lab/lab/brokers/state";
import { isPaused } from "@lab/lab/host/process-id";
import { fetchHealth, type ShownHealth } from "@lab/lab/services/health";
import {
  type BrokerFrame,
  FRAME_MS,
  type ProcessState,
  type ServiceFrame,
} from "../contract/frame.ts";
import { ageOf, type Seen, watch } from "./watch.ts";

/** What a service says of itself. */
interface Said {
  health: ShownHealth;
  faults: Record<string, number | boolean>;
}

interface Alive {
  service: UpService;
  runs: boolean;
  paused: boolean;
}

/** As many ends of a service are remembered. */
const MOST_ENDS = 100;

/** The processes of a model, looked at until `signal`. */
export class Processes {
  readonly #model: Model;
  readonly #alive: Seen<Alive[]>;
  readonly #broker: Seen<BrokerFrame | undefined>;
  readonly #said = new Map<string, Seen<Said>>();
  /** By service: when each of its processes was first seen ended. */
  readonly #endsMs = new Map<string, number[]>();

  constructor(model: Model, signal: AbortSignal) {
    this.#model = model;
    const { broker, services } = factsOf(model);
    // The end of a process is seen at the next frame.
    this.#alive = watch(FRAME_MS, signal, async () => {
      const now = (await this.#services()).map((service) => {
        const runs = serviceRuns(service);
        return { service, runs, paused: runs && isPaused(service.pid) };
      });
      for (const { runs, service } of this.#alive.value ?? []) {
        const same = now.find((one) => one.service.pid === service.pid);
        if (!runs || same?.runs) continue;
        const ends = this.#endsMs.get(service.name) ?? [];
        this.#endsMs.set(service.name, [...ends, Date.now()].slice(-MOST_ENDS));
      }
      return now;
    });
    this.#broker = watch(500, signal, async () => {
      const known = broker && (await readState()).brokers[broker.name];
      return known && lookAt(broker.name, known);
    });
    for (const name of services) {
      this.#said.set(
        name,
        watch(1_000, signal, async () => {
          const one = (await this.#services()).find((service) => service.name === name);
          if (one === undefined || !serviceRuns(one)) throw new Error("it doesn't run");
          const [health, faults] = await Promise.all([fetchHealth(one.url), faultsOf(one.url)]);
          return { health, faults };
        }),
      );
    }
  }

  /** Undefined while it was never started. */
  service(name: string): UpService | undefined {
    return this.#alive.value?.find(({ service }) => service.name === name)?.service;
  }

  /** When a process of that service that ran at that moment was seen ended, up to a frame late; undefined where none was. */
  endAfter(name: string, ms: number): number | undefined {
    return this.#endsMs.get(name)?.find((end) => end >= ms);
  }

  get broker(): BrokerFrame | undefined {
    return this.#broker.value;
  }

  frames(): ServiceFrame[] {
    return factsOf(this.#model).services.map((name) => {
      const alive = this.#alive.value?.find(({ service }) => service.name === name);
      const said = this.#said.get(name)!;
      const isNew = said.at_ms > Date.now() - 2_500;
      const { faults, health } = said.value ?? {};
      const { struck = 0, seed: _, ...all } = faults ?? {};
      const on = Object.entries(all).filter(([, value]) => Boolean(value));
      return {
        name,
        state: stateOf(alive, isNew ? health : undefined),
        pid: alive?.service.pid ?? 0,
        url: alive?.service.url ?? "",
        waits_for: isNew && health ? [...health.waits_for, ...health.problems].slice(0, 2) : [],
        owed: Object.fromEntries(
          Object.entries(health?.owed ?? {}).map(([kind, { count }]) => [kind, count]),
        ),
        ...(alive?.runs && faults ? { faults: Object.fromEntries(on) } : {}),
        struck: alive?.runs ? Number(struck) : 0,
        age_ms: ageOf(said),
      };
    });
  }

  async #services(): Promise<UpService[]> {
    const { services } = await readState();
    return services.filter(({ model }) => model === this.#model);
  }
}

function stateOf(alive: Alive | undefined, health: ShownHealth | undefined): ProcessState {
  if (alive === undefined) return "absent";
  if (!alive.runs) return "killed";
  if (alive.paused) return "paused";
  return health?.status === "up" ? "up" : "recovering";
}

async function faultsOf(url: string): Promise<Said["faults"]> {
  const answer = await fetch(`${url}/faults`, { signal: AbortSignal.timeout(2_000) });
  return answer.ok ? ((await answer.json()) as Said["faults"]) : {};
}

async function lookAt(name: string, { folder, kind, proxied }: UpBroker): Promise<BrokerFrame> {
  // Kafka tells its clients where to go on: that must be the proxy.
  const canProxy = name !== "kafka" || proxied !== undefined;
  if (folder === undefined) return { name, kind, canProxy, state: "up" };
  const pid = kind === "native" ? await nativePid(folder) : undefined;
  const paused = pid === undefined ? await composePaused(folder) : isPaused(pid);
  const runs = paused || (await brokerRuns(folder));
  return { name, kind, canProxy, state: paused ? "paused" : runs ? "up" : "killed" };
}
