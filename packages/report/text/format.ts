import type { Scalar } from "@lab/evidence/evidence";

const units: [suffix: RegExp, unit: string][] = [
  [/_per_s$/, "/s"],
  [/_per_min$/, "/min"],
  [/_ms$/, " ms"],
  [/_s$/, " s"],
  [/_units$/, " units"],
  [/_mib$/, " MiB"],
];

/** A number with thousands separators and as many decimals as three digits need: 0.123, 12.3, 1,234. */
export function formatNumber(value: number): string {
  const size = Math.abs(value);
  const decimals = Number.isInteger(value) ? 0 : size < 1 ? 3 : size < 10 ? 2 : size < 100 ? 1 : 0;
  return withDecimals(value, decimals);
}

/** A number with exactly that many decimals and thousands separators, in the same form in every locale. */
export function withDecimals(value: number, decimals: number): string {
  let format = formats.get(decimals);
  if (format === undefined) {
    format = new Intl.NumberFormat("en-US", {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals,
    });
    formats.set(decimals, format);
  }
  return format.format(value);
}

/** By decimals: to make one costs much more than to use it, and the live page formats thousands a second. */
const formats = new Map<number, Intl.NumberFormat>();

/** A figure as text, its unit taken from the end of its name: `drain_rate_per_s` gives "1,234/s". */
export function formatFigure(name: string, value: Scalar): string {
  if (typeof value === "string")
    return name.includes("digest") ? `\`${value.slice(0, 12)}…\`` : value;
  if (typeof value !== "number") return formatScalar(value);
  if (/fail(ure)?_rate$/.test(name)) return `${formatNumber(value * 100)} %`;
  const unit = units.find(([suffix]) => suffix.test(name))?.[1] ?? "";
  return `${formatNumber(value)}${unit}`;
}

/** A value of a table or of the parameters, formatted for readers. */
export function formatScalar(value: Scalar): string {
  if (value === null) return "–";
  if (typeof value === "boolean") return value ? "yes" : "no";
  return typeof value === "number" ? formatNumber(value) : value;
}

/**
 * How many decimals a column of numbers is shown with: none for whole numbers, else as many as its
 * largest value allows, so that the numbers of the column can be compared.
 */
export function columnDecimals(values: number[]): number {
  if (values.every(Number.isInteger)) return 0;
  const largest = Math.max(...values.map(Math.abs));
  return largest < 10 ? 3 : largest < 100 ? 2 : 1;
}

/** A duration for people: "12 s", "3 min 5 s". */
export function formatDuration(seconds: number): string {
  if (seconds < 60) return `${formatNumber(seconds)} s`;
  const whole = Math.round(seconds);
  return `${Math.floor(whole / 60)} min ${whole % 60} s`;
}

/** Plain text made safe inside Markdown: everything but `code` between backticks is literal. */
export function escapeMarkdown(text: string): string {
  return text
    .split(/(`[^`\n]+`)/)
    .map((part, i) => (i % 2 ? part : part.replace(/[\\*_[\]<>&~`]/g, "\\$&")))
    .join("");
}
