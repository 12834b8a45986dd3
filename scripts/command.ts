import { Command as Parser, CommanderError, InvalidArgumentError, Option as Flag } from "commander";
import { distance } from "fastest-levenshtein";

/** One command of the lab: `scripts/commands/<name>.ts` exports it as `command`. */
export interface Command {
  /** One line for the list of commands. */
  summary: string;
  /** The arguments after the name: `sync|async|stream|all`. */
  usage: string;
  /** Further text for `--help`. */
  details?: string;
  options?: Record<string, Option>;
  /** Returns the exit code; throws UsageError for invalid arguments. */
  run(input: Input): Promise<number>;
}

export type Option = { summary: string } & (
  | { type: "boolean" | "string" }
  /** A number from `least` to `most`, an integer unless `fraction` is set. */
  | { type: "number"; least: number; most: number; fraction?: true }
);

export interface Input {
  /** The arguments after the command's name, without options. */
  words: string[];
  /** By the option's name as typed, without the dashes. */
  options: Record<string, string | boolean | number | undefined>;
}

/** The command line is wrong: exit code 2. */
export class UsageError extends Error {}

/** Splits a command's arguments into words and options. Throws UsageError for an unknown option. */
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
  // The usage line describes them.
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

/** The message for an unknown name, with the nearest known one, else all. */
export function unknown(what: string, word: string, candidates: readonly string[]): string {
  const nearest = nearestWord(word, candidates);
  if (nearest !== undefined) {
    return `unknown ${what} ${word}: did you mean ${nearest}?`;
  }
  if (candidates.length === 0) return `unknown ${what} ${word}`;
  return `unknown ${what} ${word}: there is ${candidates.join(", ")}`;
}

/** The candidate of which that word is probably a misspelling; undefined when none is near. */
export function nearestWord(word: string, candidates: readonly string[]): string | undefined {
  const most = Math.max(2, Math.floor(word.length / 3));
  const near = candidates
    .map((candidate) => ({ candidate, slips: slipsBetween(word, candidate) }))
    // A word without a common letter is not near, however short both are.
    .filter(({ candidate, slips }) => slips <= most && slips < candidate.length)
    .toSorted((a, b) => a.slips - b.slips);
  return near[0]?.candidate;
}

function slipsBetween(word: string, candidate: string): number {
  // The beginning of a long name counts as near.
  if (word.length >= 3 && candidate.startsWith(word)) return 1;
  return distance(word.toLowerCase(), candidate);
}
