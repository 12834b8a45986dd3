/** One command of the lab: `scripts/commands/<name>.ts` exports it as `command`. */
export interface Command {
  /** One line for the list of commands. */
  summary: string;
  /** What follows the name: `sync|async|stream|all`. */
  usage: string;
  /** More for `--help`. */
  details?: string;
  options?: Record<string, Option>;
  /** Returns the exit code; throws UsageError for words that it doesn't understand. */
  run(input: Input): Promise<number>;
}

export type Option = { summary: string } & (
  | { type: "boolean" | "string" }
  /** A number from `least` to `most`, a whole one unless it says otherwise. */
  | { type: "number"; least: number; most: number; fraction?: true }
);

export interface Input {
  /** The words after the command's name, options taken out. */
  words: string[];
  options: Record<string, string | boolean | number | undefined>;
}

/** The command line is wrong: exit code 2. */
export class UsageError extends Error {}

/** Splits what follows a command's name into words and options. Throws UsageError for an option that it doesn't have. */
export function parseInput(args: readonly string[], known: Record<string, Option> = {}): Input {
  const words: string[] = [];
  const options: Input["options"] = {};
  for (let at = 0; at < args.length; at += 1) {
    const arg = args[at]!;
    if (arg === "--") {
      words.push(...args.slice(at + 1));
      break;
    }
    if (!arg.startsWith("-") || arg === "-") {
      words.push(arg);
      continue;
    }
    const [name = "", value] = arg.replace(/^--?/, "").split(/=(.*)/s);
    const option = Object.hasOwn(known, name) ? known[name] : undefined;
    if (option === undefined) {
      throw new UsageError(unknown("option", arg, optionNames(known)));
    }
    if (option.type === "boolean") {
      if (value !== undefined) {
        throw new UsageError(`--${name} takes no value`);
      }
      options[name] = true;
      continue;
    }
    const given = value ?? args[(at += 1)];
    if (given === undefined) throw new UsageError(`--${name} needs a value`);
    options[name] = option.type === "number" ? numberOf(name, given, option) : given;
  }
  return { words, options };
}

function numberOf(
  name: string,
  text: string,
  { fraction, least, most }: Option & { type: "number" },
): number {
  const number = text.trim() === "" ? Number.NaN : Number(text);
  const suits = fraction || Number.isSafeInteger(number);
  if (suits && number >= least && number <= most) return number;
  const kind = fraction ? "a number" : "a whole number";
  throw new UsageError(`--${name} ${text}: ${kind} from ${least} to ${most}, please`);
}

/** Says that there is no such thing, and which there is: the nearest one, else all. */
export function unknown(what: string, word: string, candidates: readonly string[]): string {
  const nearest = nearestWord(word, candidates);
  if (nearest !== undefined) {
    return `unknown ${what} ${word}: did you mean ${nearest}?`;
  }
  if (candidates.length === 0) return `unknown ${what} ${word}`;
  return `unknown ${what} ${word}: there is ${candidates.join(", ")}`;
}

/** The candidate that a typing slip turns into that word; undefined when none is near. */
export function nearestWord(word: string, candidates: readonly string[]): string | undefined {
  let nearest: string | undefined;
  let best = Math.max(2, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    // The start of a long name is near enough.
    const distance =
      word.length >= 3 && candidate.startsWith(word)
        ? 1
        : editDistance(word.toLowerCase(), candidate);
    // Nothing in common is not near, however short both are.
    if (distance < best && distance < candidate.length) {
      best = distance;
      nearest = candidate;
    }
  }
  return nearest;
}

/** How many letters to add, drop, change or swap with the next one. */
function editDistance(a: string, b: string): number {
  const rows: number[][] = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const changed = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min(rows[i - 1]![j]! + 1, row[j - 1]! + 1, rows[i - 1]![j - 1]! + changed);
      const swapped = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (i > 1 && j > 1 && swapped) {
        least = Math.min(least, rows[i - 2]![j - 2]! + 1);
      }
      row.push(least);
    }
    rows.push(row);
  }
  return rows[a.length]![b.length]!;
}

function optionNames(known: Record<string, Option>): string[] {
  return [...Object.keys(known), "help"].map((name) => `--${name}`);
}
