// The code's own shape: what may import what, how long a file may be, which commands the READMEs may name.
import { benchmarks as BENCHMARK_TITLES, proofs } from "@lab/evidence/experiments";
import { repoFolder } from "@lab/evidence/folders";
import { expect, test } from "bun:test";
import { globSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { benchmarks, modelTests } from "./run/test-files.ts";

const MODELS = ["sync-rest", "async-rabbitmq", "streaming-kafka"];

const files = globSync(`{packages,scripts,${MODELS.join()}}/**/*.{ts,tsx}`, {
  cwd: repoFolder,
  exclude: (path) => /(^|\/)node_modules$/.test(path),
}).map((path) => ({ path, text: read(path) }));

const readmes = [
  "README.md",
  "packages/lab/README.md",
  ...MODELS.map((model) => `${model}/README.md`),
];

test("every proof and benchmark has its title in the catalogue, and every title its own", () => {
  const found = modelTests().filter(({ isProof }) => isProof);
  const names = new Set(found.map(({ name }) => name));
  const titles = Object.keys(proofs).toSorted();
  expect([...names].toSorted(), "proofs in packages/evidence/experiments.ts").toEqual(titles);
  expect(new Set(benchmarks().map(({ name }) => name))).toEqual(
    new Set(Object.keys(BENCHMARK_TITLES)),
  );
});

test("only a model's own folder and the harness know its broker's client", () => {
  const walls = [
    {
      client: "amqplib",
      inside: ["async-rabbitmq/", "packages/lab/", "packages/proof/", "packages/bench/"],
    },
    {
      client: "kafkajs",
      inside: ["streaming-kafka/", "packages/lab/", "packages/proof/", "packages/bench/"],
    },
  ];
  const broken = walls.flatMap(({ client, inside }) =>
    files
      .filter(({ path }) => !inside.some((folder) => path.startsWith(folder)))
      .filter(({ text }) => importsOf(text).includes(client))
      .map(({ path }) => `${path} imports ${client}`),
  );
  expect(broken).toEqual([]);
});

test("models and services don't import each other", () => {
  const service = /-(service|producer|consumer)(\.ts)?$/;
  const broken = files
    .filter(({ path }) => MODELS.some((model) => path.startsWith(`${model}/`)))
    .flatMap(({ path, text }) =>
      importsOf(text)
        .filter((from) => MODELS.some((model) => from.includes(model)) || service.test(from))
        .map((from) => `${path} imports ${from}`),
    );
  expect(broken).toEqual([]);
});

test("packages import neither models nor scripts", () => {
  const broken = files
    .filter(({ path }) => path.startsWith("packages/"))
    .flatMap(({ path, text }) =>
      importsOf(text)
        .filter((from) => !target(path, from).startsWith("packages/"))
        .map((from) => `${path} imports ${from}`),
    );
  expect(broken).toEqual([]);
});

test("the lab and its proofs ask a model for its facts, and don't tell models apart by name", () => {
  const name = `"(${MODELS.join("|")})"`;
  const tells = new RegExp(`[!=]==\\s*${name}|case ${name}|${name}:`);
  const broken = files
    .filter(({ path }) => /^packages\/(lab|proof)\//.test(path))
    .filter(({ text }) => tells.test(text))
    .map(({ path }) => path);
  expect(broken).toEqual([]);
});

/** The lab's layers, lowest first. A layer may import itself, the layers before it, and the packages that the services use. */
const LAYERS = [
  "packages/evidence",
  "packages/lab/host",
  "packages/lab/machine",
  "packages/lab/proxy",
  "packages/lab/load",
  "packages/lab/brokers/kafka",
  "packages/lab/brokers",
  "packages/lab/services",
  "packages/lab/probes",
  "packages/lab/check",
  "packages/lab/experiment",
  "packages/bench",
  "packages/proof",
  "packages/dashboard",
];

/** What the page may use of the lab's own. */
const DASHBOARD_USES =
  /^packages\/(dashboard|evidence|contracts|workflow|lab|report\/render|@?preact|@sinclair)/;

test("no layer of the lab imports a higher one, the report imports only the evidence, and the page of the report only its charts", () => {
  const broken = importsBetweenFolders().filter(([from, to]) => {
    if (from.startsWith("packages/report")) return !/^packages\/(evidence|report)/.test(to);
    if (from.startsWith("packages/dashboard")) return !DASHBOARD_USES.test(to);
    const [own, other] = [from, to].map((folder) =>
      LAYERS.findLastIndex((layer) => folder.startsWith(layer)),
    );
    return own !== -1 && other! > own!;
  });
  expect(broken.map((one) => one.join(" imports "))).toEqual([]);
});

test("no two folders of packages import each other, by whatever way", () => {
  const arrows = importsBetweenFolders();
  const reach = (from: string, seen = new Set<string>()): Set<string> => {
    for (const [a, b] of arrows) if (a === from && !seen.has(b)) reach(b, seen.add(b));
    return seen;
  };
  const folders = [...new Set(arrows.map(([from]) => from))];
  expect(folders.filter((folder) => reach(folder).has(folder))).toEqual([]);
});

/** Without tests, which may import from higher layers. */
function importsBetweenFolders(): [from: string, to: string][] {
  return files
    .filter(({ path }) => path.startsWith("packages/") && !path.endsWith(".test.ts"))
    .flatMap(({ path, text }) =>
      importsOf(text)
        .map((from): [string, string] => [dirname(path), dirname(target(path, from))])
        .filter(([from, to]) => from !== to && /^packages\/[^:]+$/.test(to)),
    );
}

test("no folder has more files than one looks through", () => {
  const counted = Map.groupBy(files, ({ path }) => dirname(path));
  // These have one file for each command or proof.
  const full = [...counted].filter(
    ([folder, own]) => own.length > 15 && !/^scripts\/commands$|\/tests\/proof$/.test(folder),
  );
  expect(full.map(([folder, own]) => `${folder}: ${own.length} files`)).toEqual([]);
});

test("a service reads its environment through readEnv alone", () => {
  const readers = files
    .filter(({ path }) => !/^(scripts|packages\/(evidence|lab|proof))\/|\/tests\//.test(path))
    .filter(({ text }) => /(Bun|process)\.env\b/.test(text))
    .map(({ path }) => path);
  const runtime = ["http/direct-calls", "http/production", "service"];
  expect(readers.sort()).toEqual(runtime.map((name) => `packages/runtime/${name}.ts`));
});

test("no test sleeps: it waits for a condition, through the harness", () => {
  const sleepers = files
    .filter(({ path }) => MODELS.some((model) => path.startsWith(`${model}/tests/`)))
    .filter(({ text }) => /\b(sleep|setTimeout|setInterval)\(/.test(text))
    .map(({ path }) => path);
  expect(sleepers).toEqual([]);
});

test("every file is short enough to be read", () => {
  const budget = (path: string) =>
    path.includes("/tests/") ? 700 : path.startsWith("packages/") ? 500 : 350;
  const long = files
    .map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 }))
    .filter(({ lines, path }) => lines > budget(path))
    .map(({ lines, path }) => `${path}: ${lines} lines, not ${budget(path)}`);
  expect(long).toEqual([]);
});

test("a clone has no line end that a shell can't read, whatever git is told", () => {
  const scripts = globSync("{scripts/lab,.ci/run,**/*.sh}", {
    cwd: repoFolder,
    exclude: (path) => /(^|\/)node_modules$/.test(path),
  }).map((path) => ({ path, text: read(path) }));
  const crlf = [...files, ...scripts].filter(({ text }) => text.includes("\r\n"));
  expect(crlf.map(({ path }) => path)).toEqual([]);
  expect(read(".gitattributes")).toMatch(/^\* text=auto eol=lf$/m);
});

test("every command that a README names is there", () => {
  const commands = readdirSync(join(repoFolder, "scripts/commands")).map((file) =>
    file.replace(/\.ts$/, ""),
  );
  const { scripts } = JSON.parse(read("package.json")) as {
    scripts: Record<string, string>;
  };
  const missing = readmes.flatMap((readme) => {
    const text = read(readme);
    const named = (pattern: RegExp) => [...text.matchAll(pattern)].map(([, name]) => name!);
    return [
      ...named(/scripts\/lab ([a-z][a-z-]*)/g).filter((name) => !commands.includes(name)),
      ...named(/bun run ([a-z][\w:-]*)/g).filter((name) => !Object.hasOwn(scripts, name)),
    ].map((name) => `${readme}: ${name}`);
  });
  expect(missing).toEqual([]);
});

test("README is read in three minutes, and no table is wider than a screen", () => {
  const text = read("README.md");
  const [lines, bytes] = [text.split("\n").length - 1, Buffer.byteLength(text)];
  expect(
    { lines: lines <= 130, bytes: bytes <= 12 * 1024 },
    `${lines} lines, ${bytes} bytes`,
  ).toEqual({
    lines: true,
    bytes: true,
  });
  const wide = ["README.md", "packages/lab/README.md"].flatMap((readme) =>
    namesIn(read(readme), /^\|(.*)\|$/gm)
      .flatMap((row) => row.split("|").map((cell) => cell.trim()))
      .filter((cell) => cell.length >= 120)
      .map((cell) => `${readme}: ${cell}`),
  );
  expect(wide).toEqual([]);
});

test("the image gets the packages that services import, whole and without their tests", () => {
  const imported = files
    .filter(({ path }) => MODELS.some((model) => path.startsWith(`${model}/`)))
    .filter(({ path }) => !path.includes("/tests/") && !path.endsWith(".test.ts"))
    .flatMap(({ text }) => namesIn(text, /from "@lab\/(\w+)\//g))
    .map((name) => `!packages/${name}/**/*.ts`);
  const ignore = read(".dockerignore").split("\n");
  // A folder's name alone would include nothing: the line above excludes its files.
  expect([...new Set(imported)].filter((line) => !ignore.includes(line))).toEqual([]);
  expect(ignore).toContain("**/*.test.ts");
});

test("the lockfile is one that the oldest Bun of scripts/lab can read, and names no host", () => {
  const lock = read("bun.lock");
  expect(/"lockfileVersion": (\d+)/.exec(lock)?.[1]).toBe("1");
  expect(lock).not.toMatch(/https?:\/\//);
});

function read(path: string): string {
  return readFileSync(join(repoFolder, path), "utf8");
}

/** The file that an import names, from the root of the repository; a library's name as it is, below packages/. */
function target(path: string, from: string): string {
  if (from.startsWith(".")) return normalize(join(dirname(path), from));
  const [, part, rest] = /^@lab\/([^/]+)\/(.+)$/.exec(from) ?? [];
  if (part === undefined) return `packages/${from}`;
  return `${MODELS.includes(part) ? "" : "packages/"}${part}/${rest}.ts`;
}

function importsOf(text: string): string[] {
  return namesIn(text, /(?:from|import|import\()\s*"([^"]+)"/g);
}

/** The pattern's first group in every match. */
function namesIn(text: string, pattern: RegExp): string[] {
  return [...text.matchAll(pattern)].map(([, name]) => name!);
}
