import type { Evidence, Series } from "@lab/evidence/evidence";
import { formatFigure, formatNumber } from "../text/format.ts";

/** After an outage every sample is logged for so long; before, and later, one a second. */
const CLOSE_LOOK_S = 5;

/** The queue's depth over time with the outage's begin and end, then what became of the orders; undefined without samples. */
export function backlogLog({ figures, series }: Evidence): string | undefined {
  const depth = series.find(({ id }) => id === "queue-depth");
  const [first] = depth?.lines ?? [];
  if (!depth || !first) return undefined;
  const events = depth.shaded.flatMap(({ from, label, to }) => [
    { at: from, text: `*** ${label}` },
    { at: to, text: `*** ${label}: over, its process is up again` },
  ]);
  const entries = [...samples(depth), ...events].toSorted((a, b) => a.at - b.at);
  const told = Object.entries(figures).map(
    ([name, value]) => `${name.padEnd(28)} ${formatFigure(name, value)}`,
  );
  const log = entries.map(({ at, text }) => `${at.toFixed(2).padStart(8)} s  ${text}`);
  return [`${depth.title}; seconds from the first order`, ...log, "", "In sum", ...told, ""].join(
    "\n",
  );
}

function samples({ lines, shaded }: Series): { at: number; text: string }[] {
  const points = lines[0]?.points ?? [];
  const isClose = (at: number) => shaded.some(({ to }) => at >= to && at < to + CLOSE_LOOK_S);
  return points.flatMap(([at], i) => {
    const earlier = points[i - 1]?.[0] ?? -1;
    if (!isClose(at) && Math.floor(at) === Math.floor(earlier)) return [];
    const values = lines.map(
      ({ name, points: own }) => `${name} ${formatNumber(own[i]?.[1] ?? Number.NaN)}`,
    );
    return [{ at, text: values.join(", ") }];
  });
}
