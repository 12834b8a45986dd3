// The lines of a service's log that are about one order.
import { lineOf, type LogLine } from "../probes/trails.ts";

/** At most so much of the end of a log is searched. */
const MOST_BYTES = 64 << 20;

/** What was found in a log so far. */
interface Search {
  orderId: string;
  /** Of its traces and spans. */
  ids: ReadonlySet<string>;
  /** Where the part of the log ends that was searched. */
  readTo: number;
  lines: readonly string[];
}

/** By log: a page asks for the same order again and again while its timeline is open. */
const searches = new Map<string, Search>();

/**
 * The lines by the order's id, or by the trace of one that has it. A log is searched once for an
 * order, and then only what was added; or again, where that names a trace that was unknown before.
 */
export async function linesAbout(log: string, orderId: string): Promise<LogLine[]> {
  const file = Bun.file(log);
  if (!(await file.exists())) return [];
  const { size } = file;
  const begin = (ids: ReadonlySet<string>): Search => ({
    orderId,
    ids,
    readTo: Math.max(0, size - MOST_BYTES),
    lines: [],
  });
  const earlier = searches.get(log);
  const goesOn = earlier?.orderId === orderId && earlier.readTo <= size;
  const search = goesOn ? earlier : begin(new Set());
  const bytes = await file.slice(search.readTo, size).bytes();
  const length = bytes.lastIndexOf(10) + 1;
  const added = new TextDecoder().decode(bytes.subarray(0, length)).split("\n");
  const own = added.filter((line) => line.includes(orderId)).flatMap((line) => lineOf(line) ?? []);
  const ids = new Set([...search.ids, ...own.flatMap(idsIn)]);
  // What has only those ids may stand before.
  if (goesOn && ids.size > search.ids.size) {
    searches.set(log, begin(ids));
    return linesAbout(log, orderId);
  }
  const isAbout = (line: string) =>
    line.includes(orderId) || (line.includes('"span_') && [...ids].some((id) => line.includes(id)));
  const lines = [...search.lines, ...added.filter(isAbout)];
  searches.set(log, { orderId, ids, readTo: search.readTo + length, lines });
  return lines.flatMap((line) => lineOf(line) ?? []);
}

function idsIn({ trace_id, span_id }: LogLine): string[] {
  return [trace_id, span_id].filter((id) => typeof id === "string");
}
