import { expect, test } from "bun:test";
import { appendFile, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { follow } from "./follow.ts";
import { eventually } from "@lab/lab/host/waiting";

test("a file is followed from its first line to its last, whole lines only", async () => {
  const folder = await mkdtemp(join(tmpdir(), "follow-"));
  try {
    const file = join(folder, "service.log");
    const lines: string[] = [];
    const end = follow(file, (line) => lines.push(line));
    await appendFile(file, "one\ntw");
    await eventually("the first line", () => lines.length === 1);
    await appendFile(file, "o — zwö");
    await appendFile(file, "lf\n");
    await eventually("the second line", () => lines.length === 2);
    await appendFile(file, "the end");
    end();
    expect(lines).toEqual(["one", "two — zwölf", "the end"]);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
