import { chart, chartStyle, describeShaded, escape } from "./chart.ts";
import type { Block, ShownTable } from "../text/document.ts";

/**
 * The blocks as one HTML page that needs nothing but itself: styles and charts are inside, no script. It
 * follows the reader's colour scheme, fits a phone and prints.
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
    `<style>\n${pageStyle}\n${chartStyle()}\n</style>\n</head>\n<body>`,
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

const pageStyle = `
:root{color-scheme:light dark;--page:#fff;--raised:#f5f7fa;--text:#1c2430;--quiet:#505b6b;--line:#d5dbe3;--link:#0b57a8;--accent:#0b57a8;
--held:#116329;--held-page:#dcf5e3;--short:#a40e26;--short-page:#ffe4e6}
@media screen and (prefers-color-scheme:dark){:root{--page:#12161c;--raised:#1b212a;--text:#e4e9f0;--quiet:#a5b0bf;--line:#333c49;--link:#7ab3ff;--accent:#7ab3ff;
--held:#7ee2a0;--held-page:#12331f;--short:#ff9aa7;--short-page:#47141c}}
*{box-sizing:border-box}
html{scroll-behavior:smooth;scroll-padding-top:1rem}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
body{margin:0;background:var(--page);color:var(--text);font:16px/1.6 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
.skip{position:absolute;left:-99rem}.skip:focus{left:1rem;top:1rem;background:var(--page);padding:.5rem 1rem}
a{color:var(--link)}
a:focus-visible,[tabindex]:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
header{padding:2.5rem clamp(1rem,4vw,3rem) 1.5rem;border-bottom:1px solid var(--line);background:var(--raised)}
header h1{margin:0;font-size:clamp(1.6rem,4vw,2.4rem);line-height:1.2;letter-spacing:-.02em}
header p{margin:.6rem 0 0;max-width:50rem;color:var(--quiet)}
.columns{display:grid;grid-template-columns:minmax(0,1fr);padding:0 clamp(1rem,4vw,3rem)}
main{max-width:58rem;padding-bottom:4rem;min-width:0}
nav ul{list-style:none;padding:0;margin:1rem 0}nav a{display:block;padding:.3rem 0;text-decoration:none;line-height:1.35}nav a:hover{text-decoration:underline}
nav .level3{padding-left:1rem;font-size:.9rem}nav .level2{font-weight:600}
@media (min-width:75rem){.columns{grid-template-columns:16rem minmax(0,1fr);gap:3rem}nav{position:sticky;top:0;height:100vh;overflow-y:auto;border-right:1px solid var(--line);padding-right:1rem}}
h2{margin:3.5rem 0 1rem;padding-bottom:.3rem;border-bottom:2px solid var(--accent);font-size:1.6rem;line-height:1.25;letter-spacing:-.01em}
h3{margin:2.75rem 0 .75rem;font-size:1.25rem;line-height:1.3}
h4{margin:1.75rem 0 .5rem;font-size:1rem}
p,li{max-width:46rem}p{margin:.75rem 0}
code{font:.875em ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--raised);border:1px solid var(--line);border-radius:4px;padding:.05em .3em;overflow-wrap:anywhere}
pre{font:.8rem/1.5 ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;background:var(--raised);border:1px solid var(--line);border-radius:8px;padding:1rem;overflow-x:auto;max-height:32rem;margin:.5rem 0}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(15rem,1fr));gap:1rem;list-style:none;padding:0;margin:1.5rem 0}
.cards li{background:var(--raised);border:1px solid var(--line);border-top:4px solid var(--accent);border-radius:8px;padding:1rem 1.25rem}
.cards h3{margin:0;font-size:.95rem;color:var(--quiet)}.cards strong{display:block;font-size:1.9rem;line-height:1.3;letter-spacing:-.02em;font-variant-numeric:tabular-nums}.cards p{margin:.25rem 0 0;font-size:.92rem}
.scrolling{overflow-x:auto;margin:1.25rem 0 .5rem}
table{border-collapse:collapse;font-size:.9rem;min-width:min(100%,30rem);font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:600;padding-bottom:.4rem;caption-side:top}
th,td{padding:.45rem .75rem;border-bottom:1px solid var(--line);text-align:left;vertical-align:top}
thead th{border-bottom:2px solid var(--line);background:var(--raised);color:var(--quiet);font-size:.82rem;vertical-align:bottom}
tbody th{font-weight:600}
@media (max-width:40rem){td:not(.number){min-width:8rem}}
.number{text-align:right;white-space:nowrap}
.note{font-size:.88rem;color:var(--quiet);margin-top:0}
figure{margin:1.5rem 0}figcaption{font-size:.88rem;color:var(--quiet);max-width:46rem}
figure .scrolling{margin:0 0 .25rem;border:1px solid var(--line);border-radius:8px;padding:.5rem}
svg.chart{display:block;width:100%;min-width:34rem;height:auto}
.badge{display:inline-block;border-radius:99px;padding:.05rem .65rem;font-size:.8rem;font-weight:700;white-space:nowrap}
.held{background:var(--held-page);color:var(--held)}.fell-short{background:var(--short-page);color:var(--short)}
@media print{body{font-size:10pt}header{background:none;padding:0 0 1rem}.columns{display:block;padding:0}nav,.skip{display:none}main{max-width:none}.cards{grid-template-columns:repeat(3,1fr)}
h2,h3,h4,caption,.verdict{break-after:avoid}figure,tr,.cards li{break-inside:avoid}pre{white-space:pre-wrap;max-height:none;font-size:8pt}.scrolling{overflow:visible}svg.chart{min-width:0}a{color:inherit}
.badge{border:1px solid currentColor}}
`.trim();
