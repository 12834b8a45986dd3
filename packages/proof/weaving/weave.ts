// How a proof changes the code of a service while it is loaded. No service knows of it.

/** One passage of one file, and what is loaded instead of it. Spaces and line breaks count as one. */
export interface Edit {
  /** From the root of the repository: `packages/store/ledger.ts`. */
  file: string;
  passage: string;
  instead: string;
}

/** The text with all those edits. Throws when a passage isn't found exactly once. */
export function weave(text: string, edits: readonly Edit[]): string {
  return edits.reduce((woven, { file, instead, passage }) => {
    const found = [...woven.matchAll(patternOf(passage))];
    const [match] = found;
    if (match === undefined || found.length > 1) {
      throw new Error(`${file}: found ${found.length} times instead of once: ${passage}`);
    }
    return woven.slice(0, match.index) + instead + woven.slice(match.index + match[0].length);
  }, text);
}

/** In a passage: where code is put in. */
export const GAP = "<gap>";
/** The same, after a message that the client library writes to its socket in a later turn: the crash waits until it is sent. */
export const SENT = "<sent>";

function patternOf(passage: string): RegExp {
  const words = passage
    .trim()
    .split(/\s+/)
    .map((word) => RegExp.escape(word));
  return new RegExp(words.join("\\s+"), "g");
}
