import { readFileSync } from "node:fs";
import { join } from "node:path";
import { chart, chartStyle, describeShaded, escape } from "./chart.ts";
import type { Block, ShownTable } from "../text/document.ts";

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
    `<div class="columns">\n<nav aria-label="Contents"><ul>\n${contents.join("\n")}\n</ul></nav>`,
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
    case "cards":
      return `<ul class="cards">${block.cards
        .map(
          ({ title, value, text }) =>
            `<li><h3>${inline(title)}</h3><strong>${inline(value)}</strong><p>${inline(text)}</p></li>`,
        )
        .join("")}</ul>`;
    case "verdict":
      return `<p class="verdict">${badge(block.held)} ${inline(block.text)}</p>`;
    case "table":
      return tableToHtml(block.table);
    case "chart": {
      const { series, id } = block;
      const caption = `<strong>${escape(series.title)}.</strong> ${escape(describeShaded(series).join(" "))}`;
      return `<figure>${scrolling(series.title, chart(series, id))}<figcaption>${caption}</figcaption></figure>`;
    }
    case "preformatted":
      return `<figure><figcaption><strong>${inline(block.title)}</strong></figcaption><pre tabindex="0">${escape(block.text.trimEnd())}</pre></figure>`;
    default:
      return block satisfies never;
  }
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
  const body = `<table><caption>${inline(table.title)}</caption><thead><tr>${head.join("")}</tr></thead><tbody>\n${rows.join("\n")}\n</tbody></table>`;
  const note = table.note ? `<p class="note">${inline(table.note)}</p>` : "";
  return scrolling(table.title, body) + note;
}

function cellToHtml(cell: string): string {
  if (cell === "held" || cell === "**not held**") return badge(cell === "held");
  return inline(cell);
}

function badge(held: boolean): string {
  return `<span class="badge ${held ? "held" : "fell-short"}">${held ? "held" : "not held"}</span>`;
}

/** Wide things scroll in a box of their own on a small screen, reachable by keyboard. */
function scrolling(label: string, html: string): string {
  return `<div class="scrolling" role="region" tabindex="0" aria-label="${escape(label)}">${html}</div>`;
}

/** Inline Markdown as HTML. Text without markup is only escaped, so that "1. x" doesn't become a list. */
function inline(text: string): string {
  if (!/[\\`*_[\]<>&~]/.test(text)) return escape(text);
  // A page of the report links to its neighbour's HTML from its own.
  const html = Bun.markdown.html(text.replace(/(?<=\]\(\w+)\.md(?=#)/g, ".html")).trim();
  return /^<p>(?:(?!<p>)[^])*<\/p>$/.test(html) ? html.slice(3, -4) : escape(text);
}
