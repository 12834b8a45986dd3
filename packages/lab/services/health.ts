import type { Owed } from "@lab/runtime/health";

/** `GET /health` of a service. */
export interface ShownHealth {
  status: "up" | "down";
  /** Whether the broker can be used, in the models that have one. */
  broker?: boolean;
  owed: Record<string, Owed>;
  waits_for: string[];
  problems: string[];
}

/** A service's health, whether up or down. Throws when it doesn't answer. */
export async function fetchHealth(url: string): Promise<ShownHealth> {
  const response = await fetch(`${url}/health`, { signal: AbortSignal.timeout(2_000) });
  return (await response.json()) as ShownHealth;
}

/** The service's amount of pending work of that kind. Throws when it has no such kind. */
export async function owedOf(kind: string, url: string): Promise<number> {
  const owed = (await fetchHealth(url)).owed[kind];
  if (owed === undefined) throw new Error(`${url}/health names no ${kind}`);
  return owed.count;
}
