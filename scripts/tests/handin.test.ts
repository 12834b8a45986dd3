// `handin` as a real process: the folder and the zip that a student sends.
import { labFolder, repoFolder } from "@lab/evidence/folders";
import { inventAll, writeInventedRun } from "@lab/report/fixture";
import { expect, test } from "bun:test";
import { unzipSync } from "fflate";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

test("without a Chromium the hand-in has all else, says what is missing, and the zip holds the folder", async () => {
  const run = await mkdtemp(join(tmpdir(), "handin-"));
  const folder = join(labFolder, "handin", basename(run));
  try {
    await writeInventedRun(run, inventAll());
    const command = [process.execPath, "scripts/lab.ts", "handin", run, "--name", "Ada"];
    await using child = Bun.spawn(command, {
      cwd: repoFolder,
      // A PATH on which no Chromium is.
      env: { ...process.env, PATH: "/nonexistent" },
      stdout: "pipe",
      stderr: "pipe",
    });
    const [errors, output] = await Promise.all([child.stderr.text(), child.stdout.text()]);
    expect([output, await child.exited]).toEqual([`${folder}\n${folder}.zip\n`, 0]);
    // A Mac's applications need no PATH.
    if (process.platform === "linux") expect(errors).toContain("apt-get install -y chromium");
    const zip = unzipSync(await Bun.file(`${folder}.zip`).bytes());
    const index = new TextDecoder().decode(zip[`${basename(run)}/README.md`]);
    expect(index).toContain("Handed in by **Ada**");
    // What a link of the index names is in the zip.
    const links = [...index.matchAll(/\]\(([^)]+)\)/g)].map(
      ([, path]) => `${basename(run)}/${path!.replace(/#.*/, "")}`,
    );
    const held = Object.keys(zip);
    expect(links.filter((link) => !held.some((path) => path.startsWith(link)))).toEqual([]);
    expect(held).toContain(`${basename(run)}/sync-rest/latency.csv`);
  } finally {
    await rm(run, { recursive: true });
    await rm(folder, { recursive: true, force: true });
    await rm(`${folder}.zip`, { force: true });
  }
});
