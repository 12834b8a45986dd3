import { Command as Parser, CommanderError, InvalidArgumentError, Option as Flag } from "commander";
import { distance } from "fastest-levenshtein";

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
  /** By the option's name as it is typed, without the dashes. */
  options: Record<string, string | boolean | number | undefined>;
}

/** The command line is wrong: exit code 2. */
export class UsageError extends Error {}

/** Splits what follows a command's name into words and options. Throws UsageError for an option that it doesn't have. */
export function parseInput(args: readonly string[], known: Record<string, Option> = {}): Input {
  const parser = parserOf(known);
  try {
    parser.parse(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    throw new UsageError(error.message.replace(/^error: /, ""));
  }
  const given = parser.options.map((flag) => [
    flag.name(),
    parser.getOptionValue(flag.attributeName()),
  ]);
  return {
    words: parser.args,
    options: Object.fromEntries(given.filter(([, value]) => value !== undefined)),
  };
}

/** What `scripts/lab NAME --help` shows. */
export function helpOn(name: string, { details, options, summary, usage }: Command): string {
  const parser = parserOf(options).name(`scripts/lab ${name}`).usage(usage).description(summary);
  const more = details === undefined ? "" : `\n${details}\n`;
  return `${parser.helpInformation()}${more}`.trimEnd();
}

function parserOf(known: Record<string, Option> = {}): Parser {
  const parser = new Parser()
    .argument("[words...]")
    .exitOverride()
    .configureOutput({ writeErr() {} })
    .helpOption("-h, --help", "show this");
  // The usage says what they are.
  parser.configureHelp({ visibleArguments: () => [] });
  for (const [name, option] of Object.entries(known)) {
    const value = { boolean: "", string: " <text>", number: " <number>" }[option.type];
    const flag = new Flag(`--${name}${value}`, option.summary);
    if (option.type === "number") flag.argParser((text) => numberOf(text, option));
    parser.addOption(flag);
  }
  return parser;
}

function numberOf(text: string, { fraction, least, most }: Option & { type: "number" }): number {
  const number = text.trim() === "" ? Number.NaN : Number(text);
  const suits = fraction || Number.isSafeInteger(number);
  if (suits && number >= least && number <= most) return number;
  const kind = fraction ? "a number" : "a whole number";
  throw new InvalidArgumentError(`It is ${kind} from ${least} to ${most}.`);
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
  const most = Math.max(2, Math.floor(word.length / 3));
  const near = candidates
    .map((candidate) => ({ candidate, slips: slipsBetween(word, candidate) }))
    // Nothing in common is not near, however short both are.
    .filter(({ candidate, slips }) => slips <= most && slips < candidate.length)
    .toSorted((a, b) => a.slips - b.slips);
  return near[0]?.candidate;
}

function slipsBetween(word: string, candidate: string): number {
  // The start of a long name is near enough.
  if (word.length >= 3 && candidate.startsWith(word)) return 1;
  return distance(word.toLowerCase(), candidate);
}
