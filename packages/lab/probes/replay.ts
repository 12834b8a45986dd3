import type { Gap, Positions } from "@lab/store/gaps";
import type { Metrics } from "@lab/workflow/metrics";

/** `GET /metrics` of Analytics. */
export interface ShownMetrics {
  digest: string;
  /** The records that the log has lost and that the metrics cover, or should cover. */
  gaps: Gap[];
  generation: number;
  metrics: Metrics;
  offsets: Positions;
  processing_time: { orders_per_minute: number };
  replaying: boolean;
}

/** `GET /replay` of Analytics: the last replay, or the one under way. */
export interface ShownReplay {
  generation: number;
  /** `different`: it ended with other metrics, and is kept beside the live ones. */
  state: "replaying" | "live" | "retired" | "different";
  started_at: string;
  finished_at: string | null;
  /** The positions at which it ends: those of the old metrics when it began. */
  targets: Positions;
  /** The group's offsets after they were set back; null while that is not done. */
  reset_to: Positions | null;
  positions: Positions;
  digest_before: string;
  digest_after: string | null;
  equal: boolean | null;
  /** The digest of its metrics so far. */
  digest: string;
  metrics: Metrics;
}

/** The metrics that Analytics shows. Throws when it doesn't answer. */
export function fetchMetrics(url: string): Promise<ShownMetrics> {
  return getJson(`${url}/metrics`);
}

/** The replay's progress. Throws when there was none. */
export function fetchReplay(url: string): Promise<ShownReplay> {
  return getJson(`${url}/replay`);
}

/** How long a replay is asked for again where Analytics says when to come back. */
const RETRY_AFTER_MS = 15_000;

/**
 * Begins a replay; with `accept`, different metrics go live too. An Analytics that isn't a member
 * of its group yet answers 503 with Retry-After: it is asked again. Throws with its message when it
 * refuses.
 */
export async function beginReplay(url: string, accept = false): Promise<void> {
  const deadlineMs = performance.now() + RETRY_AFTER_MS;
  for (;;) {
    const response = await reach(`${url}/replay${accept ? "?accept=different" : ""}`, "POST");
    if (response.ok) return;
    const retryAfter = response.headers.get("retry-after");
    if (retryAfter === null || performance.now() > deadlineMs) {
      throw new Error(`POST ${url}/replay: ${await reasonOf(response)}`);
    }
    await Bun.sleep(Number(retryAfter) * 1_000);
  }
}

/** Offsets of all partitions together: records, as long as a log begins at 0. */
export function sumOf(positions: Positions): number {
  return Object.values(positions)
    .flatMap((partitions) => Object.values(partitions))
    .reduce((sum, offset) => sum + offset, 0);
}

/** Every number of the metrics by its path: `kitchens.k01.placed`. */
export function flatMetrics(metrics: Metrics): Record<string, number> {
  const flat: Record<string, number> = {};
  const walk = (value: unknown, path: string) => {
    if (typeof value === "number") flat[path] = value;
    else {
      for (const [key, inner] of Object.entries(value ?? {})) {
        walk(inner, path === "" ? key : `${path}.${key}`);
      }
    }
  };
  walk(metrics, "");
  return flat;
}

/** Where two metrics differ: `placed: 10 -> 11`; nothing when they are equal. */
export function diffMetrics(before: Metrics, after: Metrics): string[] {
  const [old, now] = [flatMetrics(before), flatMetrics(after)];
  return [...new Set([...Object.keys(old), ...Object.keys(now)])]
    .filter((path) => old[path] !== now[path])
    .toSorted()
    .map((path) => `${path}: ${old[path] ?? "none"} -> ${now[path] ?? "none"}`);
}

async function getJson<T>(url: string): Promise<T> {
  const response = await reach(url);
  if (!response.ok) throw new Error(`GET ${url}: ${await reasonOf(response)}`);
  return (await response.json()) as T;
}

async function reach(url: string, method = "GET"): Promise<Response> {
  try {
    return await fetch(url, { method });
  } catch (error) {
    throw new Error(`nobody answers at ${url}`, { cause: error });
  }
}

async function reasonOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { detail, title } = JSON.parse(text) as Record<string, string>;
    return `${response.status} ${title}: ${detail}`;
  } catch {
    return `${response.status} ${text}`;
  }
}
