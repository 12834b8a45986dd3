import { escape } from "./chart-parts.ts";
import { describe, type Picture } from "../text/picture.ts";
import type { Block, ShownTable } from "../text/document.ts";

/** The blocks as a Markdown text (GitHub's flavour), charts as images. */
export function toMarkdown(blocks: Block[]): string {
  return `${blocks.map(blockToMarkdown).join("\n\n")}\n`;
}

function blockToMarkdown(block: Block): string {
  switch (block.kind) {
    case "heading":
      return `<a id="${block.id}"></a>\n\n${"#".repeat(block.level)} ${block.text}`;
    case "paragraph":
      return block.text;
    case "list":
      return block.items.map((item) => `- ${item}`).join("\n");
    case "panels":
      return block.panels
        .map(
          ({ file, picture, text, title }) =>
            `**${title}.** ${text}\n\n${chartToMarkdown(picture, file)}`,
        )
        .join("\n\n");
    case "verdict":
      return `**${block.held ? "Held" : "Did not hold"}.** ${block.text}`;
    case "table":
      return [
        `**${block.table.title}**`,
        tableToMarkdown(block.table),
        ...(block.table.note ? [block.table.note] : []),
      ].join("\n\n");
    case "chart":
      return chartToMarkdown(block.picture, block.file);
    case "preformatted": {
      const longest = block.text.match(/`+/g)?.map((run) => run.length) ?? [];
      const fence = "`".repeat(Math.max(3, ...longest.map((n) => n + 1)));
      return `**${block.title}**\n\n${fence}text\n${block.text.trimEnd()}\n${fence}`;
    }
    case "fold":
      return `<details>\n<summary>${escape(block.title)}</summary>\n\n${block.blocks.map(blockToMarkdown).join("\n\n")}\n\n</details>`;
    default:
      return block satisfies never;
  }
}

/** A chart's file as an image, with a text alternative. */
export function chartToMarkdown(picture: Picture, file: string): string {
  const alt = `${picture.finding}. ${describe(picture)}`;
  return `![${alt.replace(/[[\]\\]/g, "\\$&")}](${file})`;
}

/** A table in Markdown, padded as `bun fmt` pads it. */
export function tableToMarkdown(table: ShownTable): string {
  const cells = [table.columns.map(({ name }) => name), ...table.rows].map((row) =>
    row.map((cell) => cell.replaceAll("|", "\\|").replace(/\s+/g, " ")),
  );
  const widths = table.columns.map((_, i) =>
    Math.max(3, ...cells.map((row) => Bun.stringWidth(row[i] ?? ""))),
  );
  const line = (row: string[]): string => `| ${row.join(" | ")} |`;
  const padded = cells.map((row) =>
    line(
      widths.map((width, i) => {
        const cell = row[i] ?? "";
        const padding = " ".repeat(width - Bun.stringWidth(cell));
        return table.columns[i]?.numeric ? padding + cell : cell + padding;
      }),
    ),
  );
  const rule = line(
    widths.map((width, i) =>
      table.columns[i]?.numeric ? `${"-".repeat(width - 1)}:` : "-".repeat(width),
    ),
  );
  return [padded[0], rule, ...padded.slice(1)].join("\n");
}
