import { repoFolder } from "@lab/evidence/folders";
import { realpathSync } from "node:fs";
import { homedir, hostname, tmpdir } from "node:os";

/** The texts that could identify a machine or user. */
export interface Traces {
  folders: [path: string, name: string][];
  hostnames: string[];
}

/**
 * Host names that identify nothing, or that the lab itself uses: redacting them would only garble
 * the text.
 */
const commonWords = new Set([
  "admin",
  "debian",
  "docker",
  "inventory",
  "kafka",
  "lab",
  "localhost",
  "main",
  "nobody",
  "node",
  "notification",
  "order",
  "rabbit",
  "rabbitmq",
  "root",
  "runner",
  "ubuntu",
  "user",
]);

/** The traces of the machine that this runs on. */
export function tracesOfThisMachine(): Traces {
  const host = hostname();
  return {
    folders: [
      [repoFolder, "<repo>"],
      [realpathSync(tmpdir()), "<tmp>"],
      [tmpdir(), "<tmp>"],
      [homedir(), "<home>"],
    ],
    hostnames: [host, host.split(".")[0] ?? host],
  };
}

/**
 * The same value with every text in it, keys included, free of folders and host names: they are
 * replaced by `<repo>`, `<tmp>`, `<home>` and `<host>`. Numbers and structure stay. A user's name
 * is replaced only in paths; as a separate word it may be an ordinary one, such as "unknown".
 */
export function redact<T>(value: T, traces: Traces): T {
  const clean = (text: string): string => redactText(text, traces);
  const walk = (part: unknown): unknown => {
    if (typeof part === "string") return clean(part);
    if (Array.isArray(part)) return part.map(walk);
    if (typeof part !== "object" || part === null) return part;
    return Object.fromEntries(
      Object.entries(part).map(([key, inner]) => [clean(key), walk(inner)]),
    );
  };
  return walk(value) as T;
}

function redactText(text: string, { folders, hostnames }: Traces): string {
  let clean = text;
  // The longest first: a clone often lies in the home folder.
  for (const [path, name] of folders.toSorted((a, b) => b[0].length - a[0].length)) {
    if (path.length > 1) clean = clean.replaceAll(path, name);
  }
  // Paths of other machines, or of other users of this one.
  clean = clean
    .replace(/\/(?:home|Users)\/[\w.-]+/g, "<home>")
    .replace(/(?<![\w/])\/(?:private\/)?(?:tmp|var\/folders)(?=\/)/g, "<tmp>")
    .replace(/(?<![\w/])\/root(?=\/)/g, "<home>");
  for (const host of hostnames) {
    // An Erlang node is name@host, whatever the host is called.
    clean = clean.replaceAll(`@${host}`, "@<host>");
    clean = replaceWord(clean, host, "<host>");
  }
  return clean;
}

function replaceWord(text: string, word: string, by: string): string {
  if (word.length < 2 || commonWords.has(word.toLowerCase())) return text;
  const literal = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  return text.replace(new RegExp(`(?<![\\w-])${literal}(?![\\w-])`, "g"), by);
}
