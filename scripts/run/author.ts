import type { Input, Option } from "../command.ts";

/** The options that name who hands something in. */
export const AUTHOR_OPTIONS = {
  name: { type: "string", summary: "who hands it in" },
  team: { type: "string", summary: "their team" },
} satisfies Record<string, Option>;

/** "Ada Lovelace, team 7", as far as it was given. */
export function authorOf({ name, team }: Input["options"]): string | undefined {
  const given = [name, team === undefined ? undefined : `team ${String(team)}`];
  return given.filter((part) => part !== undefined).join(", ") || undefined;
}
