import { existsSync } from "node:fs";
import { cp, mkdir, readdir, readFile, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";

/** Debian's and Ubuntu's RabbitMQ, on whose Erlang it was measured. */
const DEBIAN = "/usr/lib/rabbitmq/lib/";

/** What a broker of the lab runs; the rest follows from what these need. */
const WANTED = ["rabbit", "rabbitmq_management"];

/**
 * Erlang's arguments with which the server loads all modules of these plugins before it starts, each
 * by its path: looked for one by one, a thousand modules take 21,000 tries to open a file that
 * doesn't exist.
 */
export const LOADS_FIRST = `-eval '[code:load_abs(filename:rootname(F))||F<-filelib:wildcard("home/plugins/*/ebin/*.beam")].'`;

/**
 * The command that runs the installed `rabbitmq-server` in that folder, its working directory, with
 * no plugins but those that are needed. Erlang before 26 looks for each module in the folders of all
 * plugins: with 26 of 70, RabbitMQ 3.10 is up in 2.4 s instead of 4.2. Elsewhere than on Debian the
 * command is the installed one.
 */
export async function slimServer(folder: string, installed: string): Promise<string[]> {
  const home = join(dirname(installed), "..");
  // Erlang separates folders by colons.
  if (!installed.startsWith(DEBIAN) || folder.includes(":")) return [installed];
  const plugins = await neededPlugins(join(home, "plugins"));
  if (plugins === undefined) return [installed];
  const slim = join(folder, "home");
  await mkdir(join(slim, "plugins"), { recursive: true });
  // Copies: a script finds the home by where it really is.
  await cp(join(home, "sbin"), join(slim, "sbin"), { recursive: true });
  await symlink(join(home, "escript"), join(slim, "escript"));
  for (const name of plugins) {
    await symlink(join(home, "plugins", name), join(slim, "plugins", name));
  }
  // Relative: the scripts don't quote their own path, and a clone's may have spaces.
  return ["sh", "home/sbin/rabbitmq-server"];
}

/** The folders of the plugins and of all that they depend on; undefined where one is an archive. */
async function neededPlugins(plugins: string): Promise<string[] | undefined> {
  const installed = await readdir(plugins);
  const folderOf = new Map(installed.map((one) => [one.replace(/-[^-]*$/, ""), one]));
  const needed = new Set<string>();
  const left = [...WANTED];
  for (let name = left.pop(); name !== undefined; name = left.pop()) {
    const folder = folderOf.get(name);
    // An application of Erlang's own is none.
    if (folder === undefined || needed.has(folder)) continue;
    const app = join(plugins, folder, "ebin", `${name}.app`);
    if (!existsSync(app)) return undefined;
    needed.add(folder);
    const applications = /\{applications,\s*\[([^\]]*)\]/.exec(await readFile(app, "utf8"))?.[1];
    left.push(...(applications ?? "").split(",").map((one) => one.trim()));
  }
  return needed.size < WANTED.length ? undefined : [...needed];
}
