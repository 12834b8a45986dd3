import { printable } from "@lab/runtime/printable";

/** Prints a message for a person on standard error: standard output has only results. (console.error would be red.) */
export function say(text: string): void {
  // It may quote untrusted text.
  process.stderr.write(`${printable(text, "\n\t")}\n`);
}

/** The exit code of a program that ended because its output pipe was closed: 128 + SIGPIPE. */
export const PIPE_CLOSED = 141;

/** Prints a line of an endless result. console.log wouldn't report a closed pipe, see `outputClosed`. */
export function print(line: string): void {
  process.stdout.write(`${line}\n`);
}

/** Resolves when a line was printed to a closed pipe, as when `head` has ended. */
export function outputClosed(): Promise<void> {
  return new Promise((resolve) => process.stdout.once("error", () => resolve()));
}
