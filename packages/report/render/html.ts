import { readFileSync } from "node:fs";
import { join } from "node:path";
import { chart } from "./chart.ts";
import { chartStyle, escape } from "./chart-parts.ts";
import { describeShaded, type Picture } from "../text/picture.ts";
import type { Block, Panel, ShownTable } from "../text/document.ts";

/**
 * The blocks as one self-contained HTML page: styles and charts are inline, no scripts. It follows
 * the reader's colour scheme, and fits phones and printers.
 */
export function toHtml(title: string, lead: string, blocks: Block[]): string {
  const contents = blocks
    .filter((block) => block.kind === "heading")
    .filter(({ level }) => level <= 3)
    .map(
      ({ level, id, text }) =>
        `<li class="level${level}"><a href="#${id}">${inline(text)}</a></li>`,
    );
  return [
    '<!doctype html>\n<html lang="en">\n<head>',
    '<meta charset="utf-8">',
    '<meta name="viewport" content="width=device-width, initial-scale=1">',
    '<meta name="color-scheme" content="light dark">',
    // An empty icon: browsers would ask the server for one otherwise.
    '<link rel="icon" href="data:,">',
    `<title>${escape(title)}</title>`,
    `<style>\n${readFileSync(join(import.meta.dir, "page.css"), "utf8")}${chartStyle()}\n</style>\n</head>\n<body>`,
    '<a class="skip" href="#content">Skip to the report</a>',
    `<header><h1>${escape(title)}</h1><p>${inline(lead)}</p></header>`,
    `<div class="columns">\n<nav aria-label="Contents"><details><summary>Contents</summary><ul>\n${contents.join("\n")}\n</ul></details></nav>`,
    `<main id="content">\n${blocks.map(blockToHtml).join("\n")}\n</main>\n</div>`,
    "</body>\n</html>\n",
  ].join("\n");
}

function blockToHtml(block: Block): string {
  switch (block.kind) {
    case "heading":
      return `<h${block.level} id="${block.id}">${inline(block.text)}</h${block.level}>`;
    case "paragraph":
      return `<p>${inline(block.text)}</p>`;
    case "list":
      return `<ul>${block.items.map((item) => `<li>${inline(item)}</li>`).join("")}</ul>`;
    case "panels":
      return `<ul class="panels">${block.panels.map(panelToHtml).join("")}</ul>`;
    case "verdict":
      return `<p class="verdict">${badge(block.held)} ${inline(block.text)}</p>`;
    case "table":
      return tableToHtml(block.table);
    case "chart": {
      const { id, picture } = block;
      const { about, finding, plot } = picture;
      const shaded = plot.kind === "lines" ? describeShaded(plot.series) : [];
      const shown = about === finding ? shaded : [`${about}.`, ...shaded];
      const note = shown.length > 0 ? `<p class="note">${escape(shown.join(" "))}</p>` : "";
      return `<figure><figcaption>${escape(finding)}</figcaption>${drawn(picture, id)}${note}</figure>`;
    }
    case "preformatted":
      return `<figure><figcaption>${inline(block.title)}</figcaption><pre tabindex="0">${escape(block.text.trimEnd())}</pre></figure>`;
    case "fold":
      return `<details${block.screenOnly ? ' class="screen"' : ""}><summary>${escape(block.title)}</summary>\n${block.blocks.map(blockToHtml).join("\n")}\n</details>`;
    default:
      return block satisfies never;
  }
}

/** The chart; bars once more for a phone, where lines scroll. */
function drawn(picture: Picture, id: string): string {
  const wide = scrolling(picture.finding, chart(picture, id));
  if (picture.plot.kind === "lines") return wide;
  return `<div class="wide">${wide}</div><div class="phone">${chart(picture, `${id}-phone`, "small")}</div>`;
}

function panelToHtml({ id, picture, text, title }: Panel): string {
  return `<li><h3>${inline(title)}</h3>${chart(picture, id, "small")}<p>${inline(text)}</p></li>`;
}

function tableToHtml(table: ShownTable): string {
  const number = (i: number): string => (table.columns[i]?.numeric ? ' class="number"' : "");
  const head = table.columns.map(
    ({ name }, i) => `<th scope="col"${number(i)}>${inline(name)}</th>`,
  );
  const rows = table.rows.map((row) => {
    const cells = row.map((cell, i) =>
      i === 0
        ? `<th scope="row"${number(i)}>${inline(cell)}</th>`
        : `<td${number(i)}>${cellToHtml(cell)}</td>`,
    );
    return `<tr>${cells.join("")}</tr>`;
  });
  const body = `<table${table.columns.length > MANY_COLUMNS ? ' class="narrow"' : ""}><caption>${inline(table.title)}</caption><thead><tr>${head.join("")}</tr></thead><tbody>\n${rows.join("\n")}\n</tbody></table>`;
  const note = table.note ? `<p class="note">${inline(table.note)}</p>` : "";
  return scrolling(table.title, body, table.rows.length <= WHOLE_ROWS ? " whole" : "") + note;
}

function cellToHtml(cell: string): string {
  if (cell === "held" || cell === "**not held**") return badge(cell === "held");
  return inline(cell);
}

function badge(held: boolean): string {
  return `<span class="badge ${held ? "held" : "fell-short"}">${held ? "held" : "not held"}</span>`;
}

/** A table of more columns is set narrower, so that a laptop shows all of them. */
const MANY_COLUMNS = 7;

/** A table of so many rows isn't divided between two printed pages. */
const WHOLE_ROWS = 12;

/** Wide things scroll in a box of their own on a small screen, reachable by keyboard. */
function scrolling(label: string, html: string, more = ""): string {
  return `<div class="scrolling${more}" role="region" tabindex="0" aria-label="${escape(label)}">${html}</div>`;
}

/** Inline Markdown as HTML. Text without markup is only escaped, so that "1. x" doesn't become a list. */
function inline(text: string): string {
  if (!/[\\`*_[\]<>&~]/.test(text)) return escape(text);
  // A page of the report links to its neighbour's HTML from its own.
  const html = Bun.markdown.html(text.replace(/(?<=\]\(\w+)\.md(?=#)/g, ".html")).trim();
  return /^<p>(?:(?!<p>)[^])*<\/p>$/.test(html) ? html.slice(3, -4) : escape(text);
}
