import { answersChart } from "./answers-chart.ts";
import { chartStyle, escape, type Frame, LINE_PX, wrap } from "./chart-parts.ts";
import { linesChart } from "./lines-chart.ts";
import { describe, type Picture } from "../text/picture.ts";

/** The sizes in which a chart is drawn: one of a row of three in the report or on the live page, or a page's. */
const FRAMES = {
  small: { width: 340, height: 230 },
  strip: { width: 460, height: 280 },
  full: { width: 760, height: 360 },
};

/** The chart as an SVG element, for a page that holds `chartStyle()` and the finding. `id` must be unique in the page. */
export function chart(picture: Picture, id: string, size: keyof typeof FRAMES = "full"): string {
  const { height, svg } = plotted(picture, FRAMES[size]);
  return element(picture, id, FRAMES[size].width, height, svg);
}

/** The chart as a standalone SVG file with its finding as title, light or dark by the reader's colour scheme. */
export function chartFile(picture: Picture): string {
  const { width } = FRAMES.full;
  const lines = wrap(picture.finding, width - 24, 8);
  const title = lines.map(
    (line, i) => `<text class="title" x="12" y="${22 + i * (LINE_PX + 4)}">${escape(line)}</text>`,
  );
  const top = 14 + lines.length * (LINE_PX + 4);
  const { height, svg } = plotted(picture, FRAMES.full);
  const dark = "@media screen and (prefers-color-scheme:dark){.page{fill:#12161c}}";
  const page = `<style>\n.page{fill:#fff}\n${dark}\n${chartStyle()}\n</style><rect class="page" width="100%" height="100%"/>`;
  const body = `${page}${title.join("")}<g transform="translate(0 ${top})">${svg}</g>`;
  return `${element(picture, picture.id, width, height + top, body)}\n`;
}

function plotted({ plot }: Picture, frame: Frame): { height: number; svg: string } {
  return plot.kind === "lines"
    ? { height: frame.height, svg: linesChart(plot.series, frame) }
    : answersChart(plot.phases, frame.width);
}

function element(
  picture: Picture,
  id: string,
  width: number,
  height: number,
  body: string,
): string {
  return (
    `<svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" role="img" aria-labelledby="${id}-title ${id}-desc">` +
    `<title id="${id}-title">${escape(picture.finding)}</title><desc id="${id}-desc">${escape(`${picture.about}. ${describe(picture)}`)}</desc>` +
    `${body}</svg>`
  );
}
