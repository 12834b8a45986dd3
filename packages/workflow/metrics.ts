import type { InventoryFailed, InventoryReserved, OrderPlaced } from "@lab/contracts/events";

/** The events that analytics folds. */
export type FoldedEvent = OrderPlaced | InventoryReserved | InventoryFailed;

/**
 * The counter that an event increments. `bucket` is a minute (RFC 3339) for `placed`, a reason for
 * `failed`, empty otherwise.
 */
export interface CounterKey {
  metric: "placed" | "reserved" | "failed";
  kitchen: string;
  bucket: string;
}

export interface Counter extends CounterKey {
  n: number;
}

interface Totals {
  placed: number;
  reserved: number;
  failed: number;
  /** failed / (reserved + failed), 0 to 1; 0 while nothing is decided. */
  failure_rate: number;
}

/** The metrics of a log; they don't depend on when and in which order it is read. */
export interface Metrics extends Totals {
  failures_by_reason: Record<string, number>;
  /** Orders by the minute in which they were placed. */
  orders_per_minute: Record<string, number>;
  /** Orders per minute of event time, from the first minute to the last. */
  mean_orders_per_minute: number;
  kitchens: Record<string, Totals>;
}

/**
 * The counter that an event increments. It depends on the event alone (its own time, never the
 * clock), and sums don't depend on order: that is why a replay gives the same metrics.
 */
export function countedBy(event: FoldedEvent): CounterKey {
  const { kitchen } = event.data;
  switch (event.type) {
    case "OrderPlaced":
      return {
        metric: "placed",
        kitchen,
        bucket: `${event.time.slice(0, 16)}Z`,
      };
    case "InventoryReserved":
      return { metric: "reserved", kitchen, bucket: "" };
    case "InventoryFailed":
      return { metric: "failed", kitchen, bucket: event.data.reason };
    default:
      return event satisfies never;
  }
}

/** The metrics computed from a set of counters. */
export function metricsOf(counters: readonly Counter[]): Metrics {
  // Maps, since the customer chooses the kitchen's name: it may be "__proto__".
  const all = { placed: 0, reserved: 0, failed: 0 };
  const kitchens = new Map<string, typeof all>();
  const reasons = new Map<string, number>();
  const minutes = new Map<string, number>();
  for (const { metric, kitchen, bucket, n } of counters) {
    const own = kitchens.get(kitchen) ?? { placed: 0, reserved: 0, failed: 0 };
    kitchens.set(kitchen, own);
    all[metric] += n;
    own[metric] += n;
    if (metric === "placed") minutes.set(bucket, (minutes.get(bucket) ?? 0) + n);
    if (metric === "failed") reasons.set(bucket, (reasons.get(bucket) ?? 0) + n);
  }
  return {
    ...withRate(all),
    failures_by_reason: Object.fromEntries(reasons),
    orders_per_minute: Object.fromEntries(minutes),
    mean_orders_per_minute: meanPerMinute(minutes),
    kitchens: Object.fromEntries([...kitchens].map(([name, own]) => [name, withRate(own)])),
  };
}

function withRate(counts: Omit<Totals, "failure_rate">): Totals {
  const decided = counts.reserved + counts.failed;
  return {
    ...counts,
    failure_rate: decided === 0 ? 0 : rounded(counts.failed / decided),
  };
}

function meanPerMinute(minutes: ReadonlyMap<string, number>): number {
  let [first, last, placed] = [Infinity, -Infinity, 0];
  for (const [minute, n] of minutes) {
    const time = Date.parse(minute);
    // An invalid minute was counted before the contracts refused it.
    if (Number.isNaN(time)) continue;
    first = Math.min(first, time);
    last = Math.max(last, time);
    placed += n;
  }
  return placed === 0 ? 0 : rounded(placed / ((last - first) / 60_000 + 1));
}

function rounded(value: number): number {
  return Math.round(value * 1e6) / 1e6;
}

/** JSON with sorted keys and no white space: equal values give equal text. */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    inner && typeof inner === "object" && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}

/** SHA-256 of the canonical metrics, in hexadecimal. */
export function digestOf(metrics: Metrics): string {
  return new Bun.CryptoHasher("sha256").update(canonicalJson(metrics)).digest("hex");
}

/** The metrics in Prometheus' text format, with the counter-example (processing time) and the log's gaps. */
export function prometheusText(
  metrics: Metrics,
  processingTimeRate: number,
  recordsGone: number,
): string {
  const lines: string[] = [];
  const family = (
    name: string,
    type: "counter" | "gauge",
    help: string,
    samples: [labels: Record<string, string>, value: number][],
  ) => {
    lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    for (const [labels, value] of samples) {
      const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
      lines.push(`${name}${pairs.length ? `{${pairs.join()}}` : ""} ${value}`);
    }
  };
  const perKitchen = (key: "placed" | "reserved" | "failed") =>
    Object.entries(metrics.kitchens)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([kitchen, own]): [Record<string, string>, number] => [{ kitchen }, own[key]]);
  family("orders_placed_total", "counter", "Orders placed", perKitchen("placed"));
  family(
    "orders_reserved_total",
    "counter",
    "Orders whose stock was reserved",
    perKitchen("reserved"),
  );
  family("orders_failed_total", "counter", "Orders that failed", perKitchen("failed"));
  family("orders_failure_ratio", "gauge", "Failed of all decided orders", [
    [{}, metrics.failure_rate],
  ]);
  family("orders_per_minute_event_time", "gauge", "Mean orders per minute of event time", [
    [{}, metrics.mean_orders_per_minute],
  ]);
  family("log_records_gone", "gauge", "Records that the log no longer has", [[{}, recordsGone]]);
  family(
    "orders_per_minute_processing_time",
    "gauge",
    "Orders per minute of this reader's clock; does not replay",
    [[{}, processingTimeRate]],
  );
  return `${lines.join("\n")}\n`;
}

/** A label's value; the format has three escapes. */
function escaped(text: string): string {
  return text.replace(/\\/g, "\\\\").replace(/"/g, '\\"').replace(/\n/g, "\\n");
}
