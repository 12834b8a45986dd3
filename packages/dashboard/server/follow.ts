// One order's way through its model, from what each service has stored and written to its log.
import { serviceRuns } from "@lab/lab/brokers/state";
import { read } from "@lab/lab/probes/databases";
import type { Mark, Stretch, Timeline } from "../contract/answers.ts";
import type { Click } from "../contract/frame.ts";
import type { LogLine } from "../probes/trails.ts";
import { linesAbout } from "./order-lines.ts";
import type { Watched } from "./watched.ts";

/** A shorter wait, or a settlement that took less, isn't worth a line. */
const LEAST_WAIT_US = 1_000;

/** A span's time is from a steadier clock than that of its line, which may be some milliseconds behind. */
const CLOCKS_APART_MS = 10;

/** The timelines of an order, by the end of its id, and of those that were placed with the same click. */
export async function timelines(
  watched: readonly Watched[],
  clicks: readonly Click[],
  model: string,
  suffix: string,
): Promise<Timeline[]> {
  const one = watched.find((each) => each.model === model);
  const listed = clicks.flatMap(({ orders }) => orders).map(({ order_id }) => order_id ?? "");
  if (one === undefined) throw new Error(`there is no model ${model} on this page`);
  const orderId =
    one.book.find(suffix) ??
    listed.find((id) => id.endsWith(suffix)) ??
    (await storedWith(one, suffix));
  if (orderId === undefined) throw new Error(`no order of ${model} ends with ${suffix}`);
  const click = clicks.find(({ orders }) => orders.some(({ order_id }) => order_id === orderId));
  const wanted = click?.orders ?? [{ model: one.model, order_id: orderId }];
  return Promise.all(
    wanted.flatMap(({ model: which, order_id }) => {
      const its = watched.find((each) => each.model === which);
      return its === undefined || order_id === null ? [] : [timelineOf(its, order_id)];
    }),
  );
}

/** The order whose id ends so: an earlier one than those of the last minute, as a lamp may name it. */
async function storedWith(one: Watched, suffix: string): Promise<string | undefined> {
  if (!/^[\da-f]{4,}$/.test(suffix)) return undefined;
  const { database } = await one.service(one.facts.services[0]);
  const sql = "SELECT order_id FROM orders WHERE order_id LIKE ? LIMIT 1";
  return read<{ order_id: string }>({ database }, sql, `%${suffix}`)[0]?.order_id;
}

async function timelineOf(one: Watched, orderId: string): Promise<Timeline> {
  const services = await Promise.all(one.facts.services.map((name) => one.service(name)));
  const first = await Promise.all(services.map(({ log }) => linesAbout(log, orderId)));
  // A service that was killed has not written which order its span was about: its caller has.
  const ids = new Set(first.flatMap((found) => [...found.ids]));
  const all = await Promise.all(services.map(({ log }) => linesAbout(log, orderId, ids)));
  const lines = all.flatMap((found) => found.lines);
  /** When the process ended that had begun something at that moment; undefined while it runs. */
  const endOf = (service: string, fromMs: number): number | undefined => {
    const n = services.findIndex(({ name }) => name === service);
    const [{ deathsMs, lastMs }, process] = [all[n]!, services[n]!];
    // Before this page came up, only a process's last line says until when it lived.
    const death = deathsMs.find((ms) => ms >= fromMs - CLOCKS_APART_MS);
    const cut = death ?? (serviceRuns(process) ? undefined : lastMs);
    return cut && (one.endAfter(service, fromMs) ?? cut);
  };
  const stored = storedMoments(
    one,
    services.map(({ database }) => database),
    orderId,
  );
  const spans = spansOf(lines, endOf);
  const marks = [...stored, ...troublesIn(lines)].toSorted((a, b) => a.at_ms - b.at_ms);
  return {
    model: one.model,
    order_id: orderId,
    stretches: spans.length > 0 ? spans : stretchesBetween(one, stored),
    marks,
  };
}

interface SpanLine extends LogLine {
  span_id: string;
  parent_id?: string;
  kind?: string;
  name?: string;
  at_us: number;
  outcome?: string;
  attributes?: Record<string, string | number | boolean>;
}

/**
 * The spans of log lines. One that was begun and never ended has no end; or is cut off at `endOf`,
 * when its process ended.
 */
export function spansOf(
  lines: readonly LogLine[],
  endOf: (service: string, fromMs: number) => number | undefined = () => undefined,
): Stretch[] {
  const spans = lines.filter(({ span_id }) => typeof span_id === "string") as SpanLine[];
  const ends = new Map(
    spans.filter(({ event }) => event === "span_ended").map((line) => [line.span_id, line]),
  );
  const begun = spans.filter(({ event }) => event === "span_begun");
  const byId = new Map(begun.map((line) => [line.span_id, line]));
  const isWorthALine = ({ at_us, name = "", span_id }: SpanLine) =>
    !name.startsWith("settle ") || (ends.get(span_id)?.at_us ?? Infinity) - at_us >= LEAST_WAIT_US;
  const depthOf = (line: SpanLine): number => {
    const parent = line.parent_id === undefined ? undefined : byId.get(line.parent_id);
    return parent === undefined ? 0 : 1 + depthOf(parent);
  };
  const works = begun.filter(isWorthALine).map((line): Stretch => {
    const end = ends.get(line.span_id);
    const fromMs = line.at_us / 1_000;
    const cutMs = end === undefined ? endOf(line.service, fromMs) : undefined;
    return {
      service: line.service,
      name: `${line.name ?? ""}${placeInLog(line)}`,
      kind: line.kind === "client" || line.kind === "producer" ? "call" : "work",
      from_ms: fromMs,
      to_ms:
        end === undefined
          ? cutMs === undefined
            ? null
            : Math.max(cutMs, fromMs)
          : end.at_us / 1_000,
      ...(cutMs !== undefined && { cut: true as const }),
      ...(end?.outcome === undefined ? {} : { outcome: end.outcome }),
      depth: depthOf(line),
    };
  });
  // From when a message was sent until somebody took it.
  const waits = begun.flatMap((line): Stretch[] => {
    const sender = line.kind === "consumer" ? byId.get(line.parent_id ?? "") : undefined;
    if (sender === undefined) return [];
    const sentUs = ends.get(sender.span_id)?.at_us ?? sender.at_us;
    // A broker's confirm may come after the message has: then nobody waited for anything.
    if (line.at_us - sentUs < LEAST_WAIT_US) return [];
    return [
      {
        service: line.service,
        name: `waits for ${line.name?.split(" ").at(-1)}`,
        kind: "wait",
        from_ms: sentUs / 1_000,
        to_ms: line.at_us / 1_000,
        depth: depthOf(line),
      },
    ];
  });
  return [...works, ...waits].toSorted((a, b) => a.from_ms - b.from_ms || a.depth - b.depth);
}

/** Where a record is in its topic. */
function placeInLog({ attributes = {} }: SpanLine): string {
  const partition = attributes["messaging.destination.partition.id"];
  const offset = attributes["messaging.kafka.offset"];
  return offset === undefined ? "" : `, partition ${partition}, offset ${offset}`;
}

const TROUBLES: Record<string, string> = {
  message_retried: "tried again",
  message_repeated: "known by the ledger: no second effect",
  message_refused: "refused",
  call_failed: "a call failed",
  stock_released: "stock given back",
};

function troublesIn(lines: readonly LogLine[]): Mark[] {
  return lines.flatMap(({ event, reason, service, time }) => {
    const what = TROUBLES[event];
    if (what === undefined) return [];
    const why = typeof reason === "string" ? `: ${reason}` : "";
    return [{ service, what: `${what}${why}`, at_ms: Date.parse(time) }];
  });
}

/** What the databases say about the order, with the time of each. */
function storedMoments(one: Watched, databases: string[], orderId: string): Mark[] {
  const [order, inventory, downstream] = one.facts.services;
  const [orders = "", stock = "", last = ""] = databases;
  const moments = (service: string, database: string, sql: string): Mark[] =>
    read<{ what: string; at: string | null }>({ database }, sql, orderId).flatMap(({ at, what }) =>
      at === null ? [] : [{ service, what, at_ms: Date.parse(at) }],
    );
  return [
    ...moments(
      order,
      orders,
      "SELECT 'placed' AS what, placed_at AS at FROM orders WHERE order_id = ?",
    ),
    ...(one.facts.broker
      ? moments(
          order,
          orders,
          "SELECT 'published' AS what, sent_at AS at FROM outbox WHERE body ->> 'subject' = ?",
        )
      : []),
    ...moments(inventory, stock, "SELECT state AS what, at FROM reservations WHERE order_id = ?"),
    ...(one.facts.downstream === "notification"
      ? moments(
          downstream,
          last,
          "SELECT 'customer told' AS what, sent_at AS at FROM notifications WHERE order_id = ?",
        )
      : []),
    ...moments(
      order,
      orders,
      "SELECT 'order ' || status AS what, at FROM order_steps WHERE order_id = ? AND status != 'placed'",
    ),
  ].toSorted((a, b) => a.at_ms - b.at_ms);
}

/** Without spans: the time between two stored moments, by who had the order. */
function stretchesBetween(one: Watched, moments: readonly Mark[]): Stretch[] {
  return moments.slice(1).map((to, n) => {
    const from = moments[n]!;
    const moves = from.service !== to.service;
    return {
      service: to.service,
      name: `${from.what} → ${to.what}`,
      kind: moves ? (one.facts.broker ? "wait" : "call") : "work",
      from_ms: from.at_ms,
      to_ms: to.at_ms,
      depth: 0,
    };
  });
}
