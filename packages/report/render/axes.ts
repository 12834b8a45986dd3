import { formatNumber, withDecimals } from "../text/format.ts";

/** Where an axis puts values, and what it writes beside its ticks. */
export interface Axis {
  ticks: number[];
  /** The position of a value, from 0 (start) to 1 (end). */
  place: (value: number) => number;
  label: (value: number) => string;
}

/** Ticks at 1, 2 or 5 times a power of ten; the axis ends at ticks, or, when `tight`, where the values end. */
export function linearAxis(low: number, high: number, about: number, tight = false): Axis {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / about));
  const step = power * ([1, 2, 5].find((n) => n * power * about >= span * 0.999) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(Math.ceil(high / step - 1e-9), first + 1);
  const [start, end] = tight && high > low ? [low, high] : [first * step, last * step];
  const decimals = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  return {
    ticks: Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step).filter(
      (tick) => tick >= start - step / 1e6 && tick <= end + step / 1e6,
    ),
    place: (value) => (value - start) / (end - start),
    label: (value) => withDecimals(value, decimals),
  };
}

/**
 * From the 1, 2 or 5 times a power of ten below to the one above; where there are many, only powers
 * of ten have labels.
 */
export function logAxis(low: number, high: number): Axis {
  const from = Math.floor(Math.log10(low) + 1e-9);
  const to = Math.ceil(Math.log10(high) - 1e-9) + 1;
  const all = Array.from({ length: to - from }, (_, i) => from + i).flatMap((power) =>
    [1, 2, 5].map((n) => n * 10 ** power),
  );
  const bottom = all.findLast((tick) => tick <= low * 1.001) ?? low;
  const top = all.find((tick) => tick >= high * 0.999 && tick > bottom) ?? high;
  const within = all.filter((tick) => tick >= bottom && tick <= top);
  const powers = within.filter((tick) => Number.isInteger(Math.log10(tick)));
  const start = Math.log10(bottom);
  return {
    ticks: powers.length > 3 ? powers : within,
    place: (value) => (Math.log10(value) - start) / (Math.log10(top) - start),
    label: formatNumber,
  };
}

/**
 * Percentiles on a logarithmic scale, where each further nine has the same width: 0, 90, 99, 99.9 …
 * On a linear scale the tail, the purpose of a latency chart, would be one pixel wide. 100, the
 * slowest request, has no position on such a scale: it is placed half a nine after the last
 * percentile before it.
 */
export function percentileAxis(values: number[]): Axis {
  const nines = (value: number): number => -Math.log10(1 - value / 100);
  const highest = Math.max(0, ...values.filter((value) => value < 100));
  const known = [0, 50, 75, 90, 95, 99, 99.9, 99.99, 99.999];
  const below = known.filter((tick) => tick <= highest);
  const slowest = values.includes(100) ? [100] : [];
  const span = nines(highest) + (slowest.length > 0 ? 0.5 : 0) || 1;
  return {
    ticks: [...below, ...slowest],
    place: (value) => Math.min(nines(value) / span, 1),
    label: (value) => (value === 100 ? "max" : String(value)),
  };
}
