/** Control characters, bidirectional controls, invisible characters, line separators other than \n. */
const UNSAFE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/**
 * Untrusted text for a terminal: characters that would control it, or hide text, are shown as their
 * codes. `keep` lists characters that are left unchanged.
 */
export function printable(text: string, keep = ""): string {
  return text.replace(UNSAFE, (char) =>
    keep.includes(char) ? char : `\\u{${char.codePointAt(0)!.toString(16)}}`,
  );
}

/** A value as JSON that is safe to print on a terminal; it parses to the same value. */
export function printableJson(value: unknown, indent?: number): string {
  // JSON.stringify escapes only the characters below a space.
  return JSON.stringify(value, undefined, indent).replace(UNSAFE, (char) =>
    char === "\n" ? char : char.replace(/[^]/g, codeUnit),
  );
}

function codeUnit(unit: string): string {
  return `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`;
}
