import { printable } from "@lab/runtime/printable";

/** Tells a person what is going on, on standard error: results alone go to standard output. (console.error would be red.) */
export function say(text: string): void {
  // It may quote what others have written.
  process.stderr.write(`${printable(text, "\n\t")}\n`);
}

/** What the shell says of a program that the end of its pipe has ended: 128 and SIGPIPE. */
export const PIPE_CLOSED = 141;

/** Prints a line of a result that has no end of its own. console.log wouldn't tell when nobody reads any more, see `outputClosed`. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Resolves when a line was printed that nobody can read, as when `head` has had enough. */
export function outputClosed(): Promise<void> {
  return new Promise((resolve) => process.stdout.once("error", () => resolve()));
}
