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
  /** When the processes that wrote it last wrote before another one began, as far as it was searched. */
  deathsMs: readonly number[];
  /** The time of the last line. */
  lastMs: number | undefined;
}

/** What a log says about an order. */
export interface About extends Pick<Search, "deathsMs" | "ids" | "lastMs"> {
  lines: LogLine[];
}

/** By log: a page asks for the same order again and again while its timeline is open. */
const searches = new Map<string, Search>();

/**
 * The lines by the order's id, or by the trace of one that has it, here or in another service's log:
 * `known` are the ids found there. A log is searched once for an order, and then only what was
 * added; or again, where a trace was unknown before.
 */
export async function linesAbout(
  log: string,
  orderId: string,
  known: ReadonlySet<string> = new Set(),
): Promise<About> {
  const file = Bun.file(log);
  if (!(await file.exists())) return { lines: [], ids: known, deathsMs: [], lastMs: undefined };
  const { size } = file;
  const begin = (ids: ReadonlySet<string>): Search => ({
    orderId,
    ids,
    readTo: Math.max(0, size - MOST_BYTES),
    lines: [],
    deathsMs: [],
    lastMs: undefined,
  });
  const earlier = searches.get(log);
  const goesOn =
    earlier?.orderId === orderId && earlier.readTo <= size && known.isSubsetOf(earlier.ids);
  const search = goesOn ? earlier : begin(known);
  const bytes = await file.slice(search.readTo, size).bytes();
  const length = bytes.lastIndexOf(10) + 1;
  const added = new TextDecoder().decode(bytes.subarray(0, length)).split("\n");
  const own = added.filter((line) => line.includes(orderId)).flatMap((line) => lineOf(line) ?? []);
  const ids = new Set([...search.ids, ...own.flatMap(idsIn)]);
  // What has only those ids may stand before.
  if (ids.size > search.ids.size && (goesOn || known.size > 0)) {
    searches.set(log, begin(ids));
    return linesAbout(log, orderId, ids);
  }
  const isAbout = (line: string) =>
    line.includes(orderId) || (line.includes('"span_') && [...ids].some((id) => line.includes(id)));
  const lines = [...search.lines, ...added.filter(isAbout)];
  const { deathsMs, lastMs } = livesIn(added, search);
  searches.set(log, { orderId, ids, readTo: search.readTo + length, lines, deathsMs, lastMs });
  return { lines: lines.flatMap((line) => lineOf(line) ?? []), ids, deathsMs, lastMs };
}

/** When the processes that wrote those lines last did, before the next one was ready. */
function livesIn(
  lines: readonly string[],
  before: Pick<Search, "deathsMs" | "lastMs">,
): Pick<Search, "deathsMs" | "lastMs"> {
  const deathsMs = [...before.deathsMs];
  let last = "";
  // Only the lines in question are parsed: a log has many.
  const lastMs = () => {
    const time = TIME.exec(last)?.[1];
    return time === undefined ? before.lastMs : Date.parse(time);
  };
  for (const line of lines) {
    if (!line.startsWith(BEGINS)) continue;
    const death = line.includes('"event":"ready"') ? lastMs() : undefined;
    if (death !== undefined) deathsMs.push(death);
    last = line;
  }
  return { deathsMs, lastMs: lastMs() };
}

const BEGINS = '{"time":"';
const TIME = /^\{"time":"([^"]+)"/;

function idsIn({ trace_id, span_id }: LogLine): string[] {
  return [trace_id, span_id].filter((id) => typeof id === "string");
}
