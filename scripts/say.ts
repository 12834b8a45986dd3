import { printable } from "@lab/runtime/printable";

/** Tells a person what is going on, on standard error: results alone go to standard output. (console.error would be red.) */
export function say(text: string): void {
  // It may quote what others have written.
  process.stderr.write(`${printable(text, "\n\t")}\n`);
}
