import type { Evidence, RunInfo } from "@lab/evidence/evidence";
import { requirementsTable } from "../render/compose.ts";
import { tableToMarkdown } from "../render/markdown.ts";
import { escapeMarkdown } from "../text/format.ts";

/** Something in the hand-in folder. */
export interface Entry {
  path: string;
  title: string;
  answers: string;
}

/** The hand-in folder's README: who, which run, what is where, what was left out and why. */
export function indexPage(
  { commit, id, started_at }: RunInfo,
  evidence: Evidence[],
  {
    author,
    entries,
    leftOut,
  }: { author?: string | undefined; entries: Entry[]; leftOut: string[] },
): string {
  const held = evidence.filter((one) => one.held).length;
  const table = tableToMarkdown({
    title: "",
    columns: ["File", "What it shows", "Answers"].map((name) => ({ name, numeric: false })),
    rows: entries.map(({ answers, path, title }) => [
      `[${path}](${path})`,
      escapeMarkdown(title),
      answers,
    ]),
  });
  const pages = { report: "report.html", proof: "proof.html" };
  const lines = tableToMarkdown(requirementsTable(evidence, pages));
  return [
    "# One campus order, three ways to talk: the hand-in",
    ...(author === undefined ? [] : [`Handed in by **${escapeMarkdown(author)}**.`]),
    `Run \`${id}\` of ${started_at.slice(0, 16).replace("T", " ")} UTC${commit === undefined ? "" : `, of commit \`${commit}\``}: ${held} of ${evidence.length} experiments held. Start with [report.html](report.html).`,
    table,
    ...(leftOut.length === 0
      ? []
      : [`**Left out**\n\n${leftOut.map((why) => `- ${escapeMarkdown(why)}`).join("\n")}`]),
    lines,
    "",
  ].join("\n\n");
}
