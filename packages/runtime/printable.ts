/** Control characters, marks that turn the direction of writing, invisible ones, line ends that aren't \n. */
const STEERING = /[\p{C}\p{Zl}\p{Zp}]/gu;

/**
 * Others' text for a terminal: what would steer it, or hide what is there, is shown by its code.
 * `keep` holds the characters that may stay.
 */
export function printable(text: string, keep = ""): string {
  return text.replace(STEERING, (char) =>
    keep.includes(char) ? char : `\\u{${char.codePointAt(0)!.toString(16)}}`,
  );
}

/** A value as JSON that a terminal may be shown; it parses to the same value. */
export function printableJson(value: unknown, indent?: number): string {
  // JSON itself escapes no more than what is below a space.
  return JSON.stringify(value, undefined, indent).replace(STEERING, (char) =>
    char === "\n" ? char : char.replace(/[^]/g, codeUnit),
  );
}

function codeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
