// Whether the targets of the links in the READMEs and the published pages exist.
import { repoFolder } from "@lab/evidence/folders";
import { expect, test } from "bun:test";
import { existsSync, globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { slug } from "../text/document.ts";

const pages = [
  "README.md",
  "*/README.md",
  "packages/*/README.md",
  "*/results/results.md",
  "packages/report/published/*.{html,md}",
]
  .flatMap((pattern) => globSync(pattern, { cwd: repoFolder }))
  .map((path) => ({ path, text: read(path) }));

test("every link has its file, and every anchor is in that file", () => {
  const links = pages.flatMap(({ path, text }) => linksIn(path, text).map((to) => ({ path, to })));
  expect(links.length).toBeGreaterThan(100);
  const broken = links.filter(({ path, to }) => {
    const [other, anchor] = to.split("#");
    const file = other ? join(dirname(path), other) : path;
    if (!existsSync(join(repoFolder, file))) return true;
    return anchor !== undefined && !anchorsIn(read(file)).has(anchor);
  });
  expect(broken.map(({ path, to }) => `${path}: ${to}`)).toEqual([]);
});

function read(path: string): string {
  return readFileSync(join(repoFolder, path), "utf8");
}

function linksIn(path: string, text: string): string[] {
  const link = path.endsWith(".html") ? /href="([^"]*)"/g : /\]\(([^)\s]+)\)/g;
  const found = [...text.matchAll(link)].map(([, to]) => to!);
  return found.filter((to) => !/^[a-z]+:/.test(to));
}

function anchorsIn(text: string): Set<string> {
  const ids = [...text.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id!);
  // GitHub adds an anchor to every heading.
  const headings = [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading]) => slug(heading!));
  return new Set([...ids, ...headings]);
}
