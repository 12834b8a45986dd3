/** Tells a person what is going on, on standard error: results alone go to standard output. (console.error would be red.) */
export function say(text: string): void {
  process.stderr.write(`${text}\n`);
}
