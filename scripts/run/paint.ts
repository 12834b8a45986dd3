/** The words of a result, green or red on a terminal that may have colours (https://no-color.org). */
export function paintResult(held: boolean, stream: { isTTY: boolean }): string {
  const word = (held ? "held" : "FELL SHORT").padEnd(10);
  if (!stream.isTTY || process.env["NO_COLOR"] || process.env["TERM"] === "dumb") return word;
  return `\x1b[${held ? 32 : 31}m${word}\x1b[0m`;
}
