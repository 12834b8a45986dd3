import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { availableParallelism, cpus, release, totalmem, type } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { type Machine, type Model, writeRunInfo } from "./evidence.ts";
import { labFolder, repoFolder } from "./folders.ts";
import { settings } from "./settings.ts";

/** The folder of the runs that aren't given one. */
export const runsFolder = join(labFolder, "runs");

/** A folder name for a new run; names sort by time. */
export function newRunId(at = new Date()): string {
  const time = at.toISOString().slice(0, 19).replaceAll(/[-:]/g, "");
  return `${time}Z-${crypto.randomUUID().slice(0, 4)}`;
}

let opened: Promise<string> | undefined;

/**
 * The folder of this process's run, with its `run.json`: LAB_RUN_DIR, else a new
 * one under `.lab/runs/`.
 */
export function runFolder(): Promise<string> {
  opened ??= openRun(resolve(settings().labRunDir || join(runsFolder, newRunId())));
  return opened;
}

/** Writes `run.json` into the folder, which makes it a run's, unless it has one already. */
export async function openRun(folder: string): Promise<string> {
  if (existsSync(join(folder, "run.json"))) return folder;
  const commit = commitOf(repoFolder);
  await writeRunInfo(folder, {
    id: basename(folder),
    started_at: new Date().toISOString(),
    machine: await machine(),
    versions: {
      ...(await versions("sync-rest")),
      ...(await versions("async-rabbitmq")),
      ...(await versions("streaming-kafka")),
    },
    ...(commit === "" ? {} : { commit }),
  });
  return folder;
}

/** The commit that the clone is at; empty where git can't tell, as in a downloaded archive. */
export function commitOf(clone: string): string {
  return git(clone, "describe", "--always", "--dirty", "--exclude", "*") ?? "";
}

/** What git says of the clone; undefined where it fails, where there is none, and in a downloaded archive. */
export function git(clone: string, ...words: string[]): string | undefined {
  const { status, stdout } = spawnSync("git", words, {
    cwd: clone,
    encoding: "utf8",
    // Not that of a repository that contains the archive, nor of the one whose hook runs the lab.
    env: {
      ...process.env,

      GIT_CEILING_DIRECTORIES: dirname(clone),
      GIT_DIR: undefined,
      GIT_INDEX_FILE: undefined,
      GIT_WORK_TREE: undefined,
    },
  });
  return status === 0 ? stdout.trim() : undefined;
}

/** A description of this machine, without its host name. */
export async function machine(): Promise<Machine> {
  const distribution = await readFile("/etc/os-release", "utf8")
    .then((text) => /^PRETTY_NAME="?([^"\n]*)/m.exec(text)?.[1])
    .catch(() => undefined);
  const kernel = `${type()} ${release()} ${process.arch}`;
  return {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: availableParallelism(),
    memory_gib: Math.round((totalmem() / 2 ** 30) * 10) / 10,
    os: distribution === undefined ? kernel : `${distribution}, ${kernel}`,
  };
}

const LIBRARIES = {
  "sync-rest": [],
  "async-rabbitmq": ["amqplib"],
  "streaming-kafka": ["kafkajs"],
} satisfies Record<Model, string[]>;

/** Versions of Bun and of the installed libraries that a model uses. */
export async function versions(model: Model): Promise<Record<string, string>> {
  const found: Record<string, string> = { bun: Bun.version };
  for (const name of ["elysia", "@sinclair/typebox", ...LIBRARIES[model]]) {
    const file = join(repoFolder, "node_modules", name, "package.json");
    const { version } = (await Bun.file(file).json()) as { version: string };
    found[name] = version;
  }
  return found;
}
