import { expect, test } from "bun:test";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { repoFolder } from "./folders.ts";
import { commitOf } from "./run-folder.ts";

const before = { GIT_DIR: process.env["GIT_DIR"], PATH: process.env["PATH"] };

test("a run has no commit where git can't tell it, and never another repository's", () => {
  const parent = mkdtempSync(join(tmpdir(), "lab-"));
  const git = (...words: string[]) => Bun.spawnSync(["git", ...words], { cwd: parent });
  try {
    git("init");
    git("-c", "user.name=x", "-c", "user.email=x", "commit", "--allow-empty", "--message", "x");
    expect(commitOf(parent)).toMatch(/^[0-9a-f]+$/);
    mkdirSync(join(parent, "archive"));
    expect(commitOf(join(parent, "archive"))).toBe("");
    process.env["GIT_DIR"] = join(parent, ".git");
    expect(commitOf(repoFolder)).not.toBe(commitOf(parent));
    process.env["PATH"] = parent;
    expect(commitOf(repoFolder)).toBe("");
  } finally {
    restore();
    rmSync(parent, { recursive: true });
  }
});

function restore(): void {
  for (const [name, value] of Object.entries(before)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
}
