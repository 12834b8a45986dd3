import { type Admin, AssignerProtocol } from "kafkajs";
import type { Series } from "@lab/evidence/evidence";
import { kafkaClient } from "./kafka-tools.ts";
import { textTable } from "../host/text-table.ts";
import { nowUs, sample } from "../host/waiting.ts";

/** A line of `kafka-consumer-groups --describe`. */
export interface LagRow {
  group: string;
  topic: string;
  partition: number;
  /** What the group has committed; null before its first commit. */
  current_offset: number | null;
  log_end_offset: number;
  /** Records after the committed offset; null before the first commit. */
  lag: number | null;
  /** The member that reads the partition; null when nobody does. */
  consumer_id: string | null;
  host: string | null;
  client_id: string | null;
}

/**
 * One row for each partition that the group reads or has committed, sorted by topic and partition;
 * none for a group that doesn't exist. The lag counts from the committed offset, so it includes
 * records in progress.
 */
export async function describeGroup(admin: Admin, group: string): Promise<LagRow[]> {
  const [{ groups }, committed] = await Promise.all([
    admin.describeGroups([group]),
    admin.fetchOffsets({ groupId: group }),
  ]);
  const readers = new Map<string, Reader>();
  for (const member of groups[0]?.members ?? []) {
    // A member that is joining has no assignment yet.
    if (member.memberAssignment.length === 0) continue;
    const decoded = AssignerProtocol.MemberAssignment.decode(member.memberAssignment);
    for (const [topic, partitions] of Object.entries(decoded?.assignment ?? {})) {
      for (const partition of partitions) {
        readers.set(`${topic}/${partition}`, {
          consumer_id: member.memberId,
          host: member.clientHost,
          client_id: member.clientId,
        });
      }
    }
  }
  const offsets = new Map<string, number>();
  for (const { topic, partitions } of committed) {
    for (const { partition, offset } of partitions) {
      if (Number(offset) >= 0) {
        offsets.set(`${topic}/${partition}`, Number(offset));
      }
    }
  }
  const places = new Set([...readers.keys(), ...offsets.keys()]);
  const topics = new Set([...places].map((place) => place.split("/")[0] ?? ""));
  const rows: LagRow[] = [];
  for (const topic of [...topics].toSorted()) {
    const ends = await admin.fetchTopicOffsets(topic);
    for (const { partition, high } of ends.toSorted(byPartition)) {
      const place = `${topic}/${partition}`;
      if (!places.has(place)) continue;
      const current = offsets.get(place) ?? null;
      rows.push({
        group,
        topic,
        partition,
        current_offset: current,
        log_end_offset: Number(high),
        lag: current === null ? null : Number(high) - current,
        ...(readers.get(place) ?? nobody),
      });
    }
  }
  return rows;
}

type Reader = Pick<LagRow, "consumer_id" | "host" | "client_id">;
const nobody: Reader = { consumer_id: null, host: null, client_id: null };

function byPartition(a: { partition: number }, b: { partition: number }) {
  return a.partition - b.partition;
}

/** Records that a group has not committed yet, those before a first commit included. */
export function totalLag(rows: readonly LagRow[]): number {
  return rows.reduce((sum, row) => sum + behind(row), 0);
}

/** Offsets that a group has committed, all partitions together. */
export function totalCommitted(rows: readonly LagRow[]): number {
  return rows.reduce((sum, row) => sum + (row.current_offset ?? 0), 0);
}

function behind({ lag, log_end_offset }: LagRow): number {
  return lag ?? log_end_offset;
}

const HEADINGS = [
  "GROUP",
  "TOPIC",
  "PARTITION",
  "CURRENT-OFFSET",
  "LOG-END-OFFSET",
  "LAG",
  "CONSUMER-ID",
  "HOST",
  "CLIENT-ID",
];

/** One line: how far each group is behind, all its partitions together. */
export function lagSummary(rows: readonly LagRow[]): string {
  return [...Map.groupBy(rows, ({ group }) => group)]
    .map(([group, own]) => `${group} ${totalLag(own)}`)
    .join("  ");
}

/** The rows as `kafka-consumer-groups --describe` prints them, each group under its own headings, its total below. */
export function lagTable(rows: readonly LagRow[]): string {
  return [...Map.groupBy(rows, ({ group }) => group)]
    .map(([group, own]) => {
      const lines = textTable([HEADINGS, ...own.map(cellsOf)]);
      if (own.every(({ consumer_id }) => consumer_id === null)) {
        lines.unshift(`Consumer group '${group}' has no active members.`, "");
      }
      lines.push(`Lag of ${group} in all: ${totalLag(own)}`);
      return lines.join("\n");
    })
    .join("\n\n");
}

function cellsOf(row: LagRow): string[] {
  return [
    row.group,
    row.topic,
    row.partition,
    row.current_offset,
    row.log_end_offset,
    row.lag,
    row.consumer_id,
    row.host,
    row.client_id,
  ].map((cell) => (cell === null ? "-" : String(cell)));
}

/** A group's lag over time. */
export interface LagSampler extends AsyncDisposable {
  /** Lag by partition, for a chart. */
  lines(): Series["lines"];
  /** The total lag and the total of committed offsets: [second, records]. */
  readonly total: [number, number][];
  readonly committed: [number, number][];
  /** The sample with the most lag. */
  readonly peak: { atS: number; lag: number; rows: LagRow[] };
  /** Takes a last sample and ends. */
  stop(): Promise<void>;
}

/** Samples a group's lag every `everyMs` until it is stopped, `zeroUs` (see `nowUs`) being second 0. */
export async function sampleLag(
  brokers: string,
  group: string,
  { everyMs = 200, zeroUs }: { everyMs?: number; zeroUs: number },
): Promise<LagSampler> {
  const admin = kafkaClient(brokers).admin();
  await admin.connect();
  const byPlace = new Map<string, [number, number][]>();
  const total: [number, number][] = [];
  const committed: [number, number][] = [];
  const peak = { atS: 0, lag: -1, rows: [] as LagRow[] };
  const sampler = sample(
    async () => {
      const rows = await describeGroup(admin, group);
      const atS = Math.round((nowUs() - zeroUs) / 1_000) / 1_000;
      for (const row of rows) {
        const line = `partition ${row.partition}`;
        const points = byPlace.get(line) ?? [];
        byPlace.set(line, points);
        points.push([atS, behind(row)]);
      }
      const lag = totalLag(rows);
      total.push([atS, lag]);
      committed.push([atS, totalCommitted(rows)]);
      if (lag > peak.lag) Object.assign(peak, { atS, lag, rows });
      return lag;
    },
    { everyMs, zeroUs },
  );
  const stop = async () => {
    await sampler.stop();
    await admin.disconnect();
  };
  return {
    lines: () =>
      [...byPlace]
        .map(([name, points]) => ({ name, points }))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1)),
    total,
    committed,
    peak,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
