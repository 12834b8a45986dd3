import { link, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { basename, join } from "node:path";
import { runQuietly } from "../host/run.ts";
import type { Model } from "@lab/evidence/evidence";
import { labFolder, repoFolder } from "@lab/evidence/folders";
import { freshFolder, guardFolder, removeFolder } from "../host/lifeline.ts";
import { isAlive } from "../host/process-id.ts";
import { eventually } from "../host/waiting.ts";

/**
 * A private Docker Compose project: some of the services of a part's compose file, with a network
 * and volumes of its own. Plain data, so that another process can use it too.
 */
export interface ComposeProject {
  name: string;
  /** The part whose compose file is used. */
  model: Model;
  /** For the lab's own files. */
  folder: string;
  /** Variables of the compose file: ports. */
  env: Record<string, string>;
  /** Outlives the calling process, as `lab up` needs. */
  lasting: boolean;
}

/** By folder: what ends the guard that takes a project down when this process has died, and removes the folder. */
const unguard = new Map<string, () => Promise<void>>();

/** An empty project. Unless it is lasting, it ends with this process, however that ends. */
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
  const name = `campus-lab-${ownerId()}-${basename(folder)}`;
  unguard.set(folder, guardFolder(folder, downCommand(name)));
  return { name, model, folder, env, lasting: false };
}

/**
 * Makes a lasting project's containers end with this process, however that ends; their data are
 * kept. `lifeline` is a separate folder. Returns a function that ends them and closes the lifeline.
 */
export function endsWithUs(project: ComposeProject, lifeline: string): () => Promise<void> {
  const killing = ["docker", "compose", "-p", project.name, "kill"];
  const close = guardFolder(lifeline, killing);
  return async () => {
    await runQuietly(killing);
    await close();
  };
}

/** Writes an override of the compose file for one of its services. */
export async function override(
  { folder }: ComposeProject,
  service: string,
  settings: object,
  others: object = {},
): Promise<void> {
  // Docker doesn't know who started a container: after a power failure nothing would end those that
  // it restarts.
  const own = { restart: "no", ...settings };
  // JSON is YAML. A dollar sign would start a variable.
  const text = JSON.stringify({ services: { [service]: own }, ...others });
  await Bun.write(
    overrideFile(folder, service),
    text.replaceAll("$", () => "$$"),
  );
}

/** `docker compose WORDS SERVICE`, after `override`; returns its output. Throws with that when it fails. */
export async function compose(
  { env, folder, lasting, model, name }: ComposeProject,
  service: string,
  ...words: string[]
): Promise<string> {
  // The caller's own .env would be read without --env-file.
  const files = ["--env-file", await envFile(), "-f", composeFile(model)];
  const own = ["-f", overrideFile(folder, service)];
  const command = ["docker", "compose", "-p", name, ...files, ...own, ...words, service];
  // A command that creates containers ends with the lab, before the guard takes them down.
  const creates = words[0] === "up" && !lasting;
  return runQuietly(command, {
    env: { ...(await withoutTheShells(model)), ...env },
    ...(creates ? { lifeline: folder } : {}),
  });
}

/**
 * Pauses all processes of a service's container, as SIGSTOP does. With cgroups v1 freezing a busy
 * container sometimes fails, and Docker gives up ("unable to freeze"): that is retried.
 */
export async function pause(project: ComposeProject, service: string): Promise<void> {
  await eventually(
    `${service} is paused`,
    async () => {
      await compose(project, service, "pause");
      return true;
    },
    { timeoutMs: 10_000 },
  );
}

/**
 * Unsets the variables that the compose file would take from the caller's environment, with
 * precedence over our env file: an INVENTORY_DELAY_MS meant for `lab up` would silently slow an
 * experiment down.
 */
async function withoutTheShells(model: Model): Promise<Record<string, undefined>> {
  const text = await readFile(composeFile(model), "utf8");
  return Object.fromEntries(variablesOf(text).map((name) => [name, undefined]));
}

/** The variables that a compose file takes from the shell: `${NAME}`, and `NAME:` without a value. */
export function variablesOf(text: string): string[] {
  const found = text.matchAll(/\$\{([A-Z_]+)|^ +([A-Z_]+):$/gm);
  return [...new Set([...found].map(([, used, handedOn]) => (used ?? handedOn)!))];
}

/** The image of a part's service, as the compose file names it. */
export async function imageOf(model: Model, service: string): Promise<string> {
  const words = ["--file", composeFile(model), "config", "--images", service];
  return (await runQuietly(["docker", "compose", ...words])).trim();
}

/** Fetches an image unless it is there. Throws, with the reason, when that fails. */
export async function provideImage(image: string): Promise<void> {
  const there = await runQuietly(["docker", "image", "inspect", image]).then(
    () => true,
    () => false,
  );
  if (there) return;
  process.stderr.write(`pulling ${image} …\n`);
  await runQuietly(["docker", "pull", "--quiet", image]);
}

/**
 * Removes the project's containers, network and volumes, and its folder unless the project is
 * lasting.
 */
export async function endProject({ folder, lasting, name }: ComposeProject): Promise<void> {
  await runQuietly(downCommand(name));
  if (lasting) return;
  // Another process may have opened it.
  const close = unguard.get(folder) ?? (() => removeFolder(folder));
  unguard.delete(folder);
  await close();
}

/** Removes the remains of a project whose folder no longer exists; returns whether there was a container. */
export async function endLostProject(name: string): Promise<boolean> {
  const label = `label=com.docker.compose.project=${name}`;
  const ids = await runQuietly(["docker", "ps", "--all", "--quiet", "--filter", label]);
  await runQuietly(downCommand(name));
  return ids !== "";
}

/** By name only, since its containers are labelled. Without a grace period: the data are not needed. */
function downCommand(name: string): string[] {
  const words = ["down", "--volumes", "--remove-orphans", "--timeout", "0"];
  return ["docker", "compose", "-p", name, ...words];
}

/** The password of RabbitMQ's user in containers, generated once. */
export async function rabbitmqPassword(): Promise<string> {
  const [, password] = /^RABBITMQ_PASSWORD=(.+)$/m.exec(await readFile(await envFile(), "utf8"))!;
  return password!;
}

/** The variables that the compose files of this clone need besides ports. */
async function envFile(): Promise<string> {
  const file = join(labFolder, "compose.env");
  if (await Bun.file(file).exists()) return file;
  await mkdir(labFolder, { recursive: true });
  const half = `${file}.${process.pid}.half`;
  const password = crypto.randomUUID().replaceAll("-", "");
  await writeFile(half, `RABBITMQ_PASSWORD=${password}\n`, { mode: 0o600 });
  // Unlike rename, link doesn't replace a file that another process has created meanwhile.
  await link(half, file).catch(() => {});
  await rm(half);
  return file;
}

const composeFile = (model: Model) => join(repoFolder, model, "docker-compose.yml");
const overrideFile = (folder: string, service: string) => join(folder, `${service}.json`);

/** Removes our projects whose process no longer runs, as after a power failure. */
async function removeStale(): Promise<void> {
  const format = '{{.Label "com.docker.compose.project"}}';
  const list = await runQuietly(["docker", "ps", "--all", "--format", format]);
  for (const name of new Set(list.split("\n"))) {
    // Its guard may be removing it at this moment.
    if (isStale(name)) await runQuietly(downCommand(name)).catch(() => {});
  }
}

/** Whether a project of that name is ours, and its process no longer runs. */
export function isStale(name: string): boolean {
  const [, owner, pid] = /^campus-lab-([0-9a-f]+)-[a-z]+-(\d+)-[0-9a-f]+$/.exec(name) ?? [];
  return owner === ownerId() && !isAlive(Number(pid));
}

/**
 * Distinguishes our projects from those of other labs on the same engine, as in two containers that
 * share its socket: a process id is meaningful only on its own machine and in its own PID
 * namespace.
 */
export function ownerId(): string {
  const namespace = process.platform === "linux" ? readlinkSync("/proc/self/ns/pid") : "";
  const ours = [hostname(), namespace, labFolder].join(" ");
  return new Bun.CryptoHasher("sha256").update(ours).digest("hex").slice(0, 8);
}
