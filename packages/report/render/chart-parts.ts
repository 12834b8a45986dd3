/** The size of what a chart is drawn into, in the units of its viewBox. */
export interface Frame {
  width: number;
  height: number;
}

/** Of 12 px sans-serif, on average. */
export const CHARACTER_PX = 6.7;

/** From one line of text to the next. */
export const LINE_PX = 16;

/**
 * Ten colours with a contrast of at least 4.5:1 to the page in both schemes; dash patterns
 * distinguish them without colour.
 */
export const inks: [light: string, dark: string, dash: string][] = [
  ["#1558b0", "#7ab3ff", ""],
  ["#b93a07", "#ff9e64", "8 4"],
  ["#11703a", "#5fd68b", "2 3"],
  ["#8a2be2", "#d0a3ff", "10 3 2 3"],
  ["#7a5200", "#f2c94c", "5 2"],
  ["#0b6b7d", "#56d4e6", "1 4"],
  ["#b3124b", "#ff85ab", "12 4"],
  ["#4a5568", "#c3cddb", "6 2 1 2 1 2"],
  ["#5b6300", "#cfdb5a", "3 6"],
  ["#6b3fa0", "#b9a3e3", "14 3 4 3"],
];

/** The CSS that charts need: once in a page, or inside a standalone SVG file. Follows the colour scheme. */
export function chartStyle(): string {
  const scheme = (dark: boolean): string =>
    [
      ...inks.map(([light, night], i) => `--ink${i}:${dark ? night : light}`),
      ...(dark
        ? ["--chart-text:#c9d1dc", "--chart-grid:#333c49", "--shade:#ff7b72", "--on-ink:#12161c"]
        : ["--chart-text:#3d4653", "--chart-grid:#dde2e9", "--shade:#d1242f", "--on-ink:#fff"]),
    ].join(";");
  return [
    `:root{${scheme(false)}}`,
    `@media screen and (prefers-color-scheme:dark){:root{${scheme(true)}}}`,
    ".chart text{font:12px system-ui,-apple-system,'Segoe UI',Roboto,sans-serif;fill:var(--chart-text)}",
    ".chart .name{font-weight:600}",
    ".chart .title{font-size:15px;font-weight:700}",
    ".chart .grid{stroke:var(--chart-grid);fill:none}",
    ".chart .axis{stroke:var(--chart-text);fill:none}",
    ".chart .shade{fill:var(--shade);fill-opacity:.1}",
    ".chart .edge{stroke:var(--shade);stroke-dasharray:3 3;stroke-opacity:.7}",
    ".chart .ok{fill:var(--ink0)}.chart .failed{fill:var(--ink1)}.chart .unknown{fill:var(--ink7)}",
    ".chart .inside{fill:var(--on-ink);font-weight:600}",
    ...inks.map(
      ([, , dash], i) =>
        `.chart .l${i}{stroke:var(--ink${i});fill:none;stroke-linejoin:round${dash && `;stroke-dasharray:${dash}`}}` +
        `.chart .d${i}{fill:var(--ink${i})}`,
    ),
  ].join("\n");
}

/** The words in lines of at most that width. */
export function wrap(text: string, width: number, characterPx: number): string[] {
  return text.split(" ").reduce<string[]>((lines, word) => {
    const longer = `${lines.at(-1) ?? ""} ${word}`.trim();
    if (lines.length > 0 && longer.length * characterPx > width) return [...lines, word];
    return [...lines.slice(0, -1), longer];
  }, []);
}

/** Text made safe inside XML and HTML, attributes included. */
export function escape(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}

/** To a tenth of a pixel. */
export function round(value: number): number {
  return Math.round(value * 10) / 10;
}
