import { cp, mkdir, readdir, symlink } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { repoFolder } from "@lab/evidence/folders";
import { hasKafkaJars, kafkaFolder } from "@lab/lab/brokers/kafka/kafka-jars";
import { freshFolder, guardFolder } from "@lab/lab/host/lifeline";
import { freePorts } from "@lab/lab/host/ports";
import { models } from "@lab/evidence/experiments";

/** What a command of the lab has come to. */
interface Ended {
  code: number;
  output: string;
  errors: string;
}

/** Of `scripts/lab status --json`. */
interface Status {
  services: {
    service: string;
    status: string;
    url: string;
    pid: number;
    database: string;
    log: string;
  }[];
  brokers: { status: string }[];
}

type Child = Bun.Subprocess<"ignore", "pipe", "pipe">;

/** A copy of this clone with an `up` of its own, which meets neither a person's `up` nor its ports. */
interface OwnLab extends AsyncDisposable {
  readonly folder: string;
  /** Runs a command of the lab to its end. */
  run(words: string[], env?: Record<string, string>): Promise<Ended>;
  /** Starts `bun WORDS`, in a process group of its own as a terminal does. */
  spawn(words: string[], env?: Record<string, string>): Child;
  status(): Promise<Status>;
}

/** Makes one; its end, or that of this process, takes down what is up there, and removes it. */
export async function ownLab(): Promise<OwnLab> {
  const lifeline = await freshFolder("own-lab");
  // As a home folder may be called.
  const folder = join(lifeline, "campus lab ü");
  const close = guardFolder(lifeline, [process.execPath, join(folder, "scripts/lab.ts"), "down"]);
  await mkdir(folder);
  const copy = (name: string) =>
    cp(join(repoFolder, name), join(folder, name), { recursive: true, verbatimSymlinks: true });
  const files = ["package.json", "bunfig.toml", "tsconfig.json", "packages", "scripts"];
  await Promise.all([...files, ...models.map(({ model }) => model)].map(copy));
  await mkdir(join(folder, "node_modules"));
  for (const name of await readdir(join(repoFolder, "node_modules"))) {
    const path = join("node_modules", name);
    // The workspace's own are links to the copy; others' packages are shared.
    if (name === "@lab") await copy(path);
    else await symlink(join(repoFolder, path), join(folder, path));
  }
  await mkdir(join(folder, ".lab"));
  if (hasKafkaJars()) await symlink(kafkaFolder, join(folder, ".lab", basename(kafkaFolder)));
  const own = { ...environment(), ...(await ownPorts()) };
  const spawn: OwnLab["spawn"] = (words, env = {}) =>
    Bun.spawn([process.execPath, ...words], {
      cwd: folder,
      env: { ...own, ...env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      detached: true,
    });
  const run: OwnLab["run"] = async (words, env) => {
    const child = spawn(["scripts/lab.ts", ...words], env);
    const [output, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
    return { output, errors, code: await child.exited };
  };
  return {
    folder,
    run,
    spawn,
    status: async () => JSON.parse((await run(["status", "--json"])).output) as Status,
    async [Symbol.asyncDispose]() {
      await run(["down"]);
      await close();
    },
  };
}

/** The caller's environment, without variables that name a broker or that `up` prints, and with this Bun on the PATH. */
function environment(): Record<string, string | undefined> {
  const brokers = ["AMQP_URL", "KAFKA_BROKERS", "LAB_RABBITMQ_FOLDER", "LAB_KAFKA_FOLDER"];
  const unset = [...brokers, "LOG_LEVEL"];
  const { LAB_BROKERS, PATH } = process.env;
  return {
    ...process.env,
    ...Object.fromEntries(unset.map((name) => [name, undefined])),
    LAB_BROKERS: LAB_BROKERS === "external" ? undefined : LAB_BROKERS,
    PATH: `${dirname(process.execPath)}:${PATH}`,
  };
}

async function ownPorts(): Promise<Record<string, string>> {
  const names = ["ORDER_PORT", "INVENTORY_PORT", "NOTIFICATION_PORT", "ANALYTICS_PORT"];
  const ports = await freePorts(names.length);
  return Object.fromEntries(names.map((name, index) => [name, String(ports[index])]));
}
