import { link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { runQuietly } from "./doctor.ts";
import type { Model } from "./evidence.ts";
import { labFolder, repoFolder } from "./folders.ts";
import {
  freshFolder,
  holdLifeline,
  killGroup,
  releaseLifeline,
  removeFolder,
  spawnAtLifelineEnd,
} from "./lifeline.ts";
import { isAlive } from "./process-id.ts";

/**
 * A Docker Compose project of the lab's own: some of the services of a part's
 * compose file, with a network and volumes that nobody else has. Plain data, so
 * that another process can use it too.
 */
export interface ComposeProject {
  name: string;
  /** The part, whose compose file it is. */
  model: Model;
  /** For the lab's own files. */
  folder: string;
  /** Variables of the compose file: ports. */
  env: Record<string, string>;
  /** Goes on after the caller's end, as `lab up` wants it. */
  lasting: boolean;
}

/** The processes that take a project down when this one has died, by folder. */
const guards = new Map<string, Bun.Subprocess>();

/** A project with nothing in it yet. Unless it is to last in that folder, it ends with this process, however that does. */
export async function openProject(
  kind: string,
  model: Model,
  env: Record<string, string>,
  lastingIn?: string,
): Promise<ComposeProject> {
  await removeStale();
  if (lastingIn !== undefined) {
    const name = `campus-lab-up-${kind}-${crypto.randomUUID().slice(0, 8)}`;
    return { name, model, folder: lastingIn, env, lasting: true };
  }
  const folder = await freshFolder(kind);
  const name = `campus-lab-${basename(folder)}`;
  holdLifeline(folder);
  const guard = spawnAtLifelineEnd(folder, downCommand(name));
  guard.unref();
  guards.set(folder, guard);
  return { name, model, folder, env, lasting: false };
}

/** Says what differs from the compose file for one of its services. */
export async function override(
  { folder }: ComposeProject,
  service: string,
  settings: object,
  others: object = {},
): Promise<void> {
  // Docker has no memory of who started it: after a power cut nobody would end what it starts again.
  const own = { restart: "no", ...settings };
  // JSON is YAML. A dollar would be a variable.
  const text = JSON.stringify({ services: { [service]: own }, ...others });
  await Bun.write(
    overrideFile(folder, service),
    text.replaceAll("$", () => "$$"),
  );
}

/** `docker compose WORDS SERVICE`, after `override`; gives what it prints. Throws with that when it fails. */
export async function compose(
  { env, folder, lasting, model, name }: ComposeProject,
  service: string,
  ...words: string[]
): Promise<string> {
  // The caller's own .env would be read without --env-file.
  const files = ["--env-file", await envFile(), "-f", composeFile(model)];
  const own = ["-f", overrideFile(folder, service)];
  const command = ["docker", "compose", "-p", name, ...files, ...own, ...words, service];
  // What creates something ends with the lab, before the guard takes it down.
  const creates = words[0] === "up" && !lasting;
  return runQuietly(command, {
    // The caller's environment would go before the file.
    env: { RABBITMQ_PASSWORD: undefined, ...env },
    ...(creates ? { lifeline: folder } : {}),
  });
}

/** The image of a part's service, as the compose file names it. */
export async function imageOf(model: Model, service: string): Promise<string> {
  const words = ["--file", composeFile(model), "config", "--images", service];
  return (await runQuietly(["docker", "compose", ...words])).trim();
}

/** Fetches an image unless it is there. Throws, with the reason, when it can't be had. */
export async function provideImage(image: string): Promise<void> {
  const there = await runQuietly(["docker", "image", "inspect", image]).then(
    () => true,
    () => false,
  );
  if (there) return;
  process.stderr.write(`pulling ${image} …\n`);
  await runQuietly(["docker", "pull", "--quiet", image]);
}

/** Removes the project's containers, network and volumes, and its folder unless it lasts. */
export async function endProject({ folder, lasting, name }: ComposeProject): Promise<void> {
  await runQuietly(downCommand(name));
  if (lasting) return;
  const guard = guards.get(folder);
  guards.delete(folder);
  if (guard !== undefined) killGroup(guard.pid);
  releaseLifeline(folder);
  await removeFolder(folder);
}

/** By its name alone, since what belongs to it carries a label. At once: nobody needs what a slow end would save. */
function downCommand(name: string): string[] {
  const words = ["down", "--volumes", "--remove-orphans", "--timeout", "0"];
  return ["docker", "compose", "-p", name, ...words];
}

/** The password of RabbitMQ's user in containers, made once. */
export async function rabbitmqPassword(): Promise<string> {
  const [, password] = /^RABBITMQ_PASSWORD=(.+)$/m.exec(await readFile(await envFile(), "utf8"))!;
  return password!;
}

/** What the compose files of this clone are given beside ports. */
async function envFile(): Promise<string> {
  const file = join(labFolder, "compose.env");
  if (await Bun.file(file).exists()) return file;
  await mkdir(labFolder, { recursive: true });
  const half = `${file}.${process.pid}.half`;
  const password = crypto.randomUUID().replaceAll("-", "");
  await writeFile(half, `RABBITMQ_PASSWORD=${password}\n`, { mode: 0o600 });
  // Unlike rename it leaves what another process has made meanwhile.
  await link(half, file).catch(() => {});
  await rm(half);
  return file;
}

const composeFile = (model: Model) => join(repoFolder, model, "docker-compose.yml");
const overrideFile = (folder: string, service: string) => join(folder, `${service}.json`);

/** Removes projects whose process is gone, as after a power cut. */
async function removeStale(): Promise<void> {
  const format = '{{.Label "com.docker.compose.project"}}';
  const list = await runQuietly(["docker", "ps", "--all", "--format", format]);
  for (const name of new Set(list.split("\n"))) {
    const owner = /^campus-lab-[a-z]+-(\d+)-[0-9a-f]+$/.exec(name)?.[1];
    if (owner === undefined || isAlive(Number(owner))) continue;
    // Its guard may be about it at this moment.
    await runQuietly(downCommand(name)).catch(() => {});
  }
}
