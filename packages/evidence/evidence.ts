import { type Static, type TSchema, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { existsSync } from "node:fs";
import { mkdir, readFile, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

const text = Type.String({ minLength: 1 });

export const Model = Type.Union([
  Type.Literal("sync-rest"),
  Type.Literal("async-rabbitmq"),
  Type.Literal("streaming-kafka"),
]);
export type Model = Static<typeof Model>;

export const Scalar = Type.Union([Type.String(), Type.Number(), Type.Boolean(), Type.Null()]);
export type Scalar = Static<typeof Scalar>;

export const Table = Type.Object({
  id: text,
  title: text,
  columns: Type.Array(Type.Object({ name: text, unit: Type.Optional(Type.String()) })),
  rows: Type.Array(Type.Array(Scalar)),
  note: Type.Optional(Type.String()),
});
export type Table = Static<typeof Table>;

export const Series = Type.Object({
  id: text,
  title: text,
  x: Type.Object({
    name: text,
    unit: Type.String(),
    /** Where the axis begins, if that is before the first point. */
    from: Type.Optional(Type.Number()),
  }),
  y: Type.Object({
    name: text,
    unit: Type.String(),
    log: Type.Optional(Type.Boolean()),
  }),
  lines: Type.Array(
    Type.Object({
      name: text,
      points: Type.Array(Type.Tuple([Type.Number(), Type.Number()])),
    }),
  ),
  shaded: Type.Array(Type.Object({ label: text, from: Type.Number(), to: Type.Number() })),
});
export type Series = Static<typeof Series>;

/** Preformatted text: the output of a tool, a dead letter, a log. */
export const Excerpt = Type.Object({
  id: text,
  title: text,
  text: Type.String(),
});
export type Excerpt = Static<typeof Excerpt>;

export const Check = Type.Object({
  label: text,
  held: Type.Boolean(),
  expected: Type.Unknown(),
  actual: Type.Unknown(),
});
export type Check = Static<typeof Check>;

export const Machine = Type.Object({
  cpu: Type.String(),
  cores: Type.Integer(),
  memory_gib: Type.Number(),
  os: Type.String(),
});
export type Machine = Static<typeof Machine>;

const Versions = Type.Record(Type.String(), Type.String());

/** What one experiment records. */
export const Evidence = Type.Object({
  experiment: text,
  model: Model,
  question: text,
  method: text,
  /** What would have shown the expectation wrong. */
  disproof: text,
  /** Ids of the assignment's lines: A3, D2. */
  requirements: Type.Array(text),
  started_at: text,
  duration_s: Type.Number(),
  machine: Machine,
  versions: Versions,
  /** native, compose, external or none. */
  brokers: text,
  seed: Type.Integer(),
  parameters: Type.Record(Type.String(), Scalar),
  tables: Type.Array(Table),
  series: Type.Array(Series),
  excerpts: Type.Array(Excerpt),
  /**
   * Named numbers, the unit last: p50_ms. The report and the READMEs take their numbers from here.
   */
  figures: Type.Record(Type.String(), Scalar),
  checks: Type.Array(Check),
  held: Type.Boolean(),
  failure: Type.Optional(Type.String()),
});
export type Evidence = Static<typeof Evidence>;

/** Whether it ran as scripts/lab test runs it, short and beside others: its figures say nothing. */
export function ranShort({ parameters }: Evidence): boolean {
  return parameters["length"] === "short";
}

/** `run.json` of a run's folder. */
export const RunInfo = Type.Object({
  id: text,
  started_at: text,
  machine: Machine,
  versions: Versions,
  commit: Type.Optional(text),
});
export type RunInfo = Static<typeof RunInfo>;

/**
 * Returns the value when it matches the schema (and, for a table, when each row has a cell for each
 * column). Throws an error that names every path that doesn't.
 */
export function validated<S extends TSchema>(what: string, schema: S, value: unknown): Static<S> {
  const wrong = [...Value.Errors(schema, value)].map(
    ({ path, message, value: found }) =>
      `  ${path || "/"}: ${message.toLowerCase()}, found ${Bun.inspect(found)}`,
  );
  if (wrong.length === 0 && (schema as TSchema) === Table) {
    const { columns, rows } = value as Table;
    for (const [index, row] of rows.entries()) {
      if (row.length === columns.length) continue;
      wrong.push(`  /rows/${index}: ${row.length} cells for ${columns.length} columns`);
    }
  }
  if (wrong.length > 0) {
    throw new Error(`${what} is not valid:\n${wrong.join("\n")}`);
  }
  return value as Static<S>;
}

/**
 * Writes `<run folder>/<model>/<experiment>.json` atomically, so that no reader ever sees a partial
 * file, and returns its path. Throws when it is not valid.
 */
export async function writeEvidence(runFolder: string, evidence: Evidence): Promise<string> {
  validated("the evidence", Evidence, evidence);
  for (const table of evidence.tables) {
    validated(`table ${table.id}`, Table, table);
  }
  const file = join(runFolder, evidence.model, `${evidence.experiment}.json`);
  await writeJson(file, evidence);
  return file;
}

/** Writes `<run folder>/run.json` atomically. */
export async function writeRunInfo(runFolder: string, info: RunInfo): Promise<void> {
  await writeJson(join(runFolder, "run.json"), validated("run.json", RunInfo, info));
}

/**
 * Reads a run: its `run.json` and every experiment's evidence, sorted by model
 * and start. Throws when a file is missing or not valid.
 */
export async function readRun(runFolder: string): Promise<{ info: RunInfo; evidence: Evidence[] }> {
  const info = validated(
    join(runFolder, "run.json"),
    RunInfo,
    await readJson(join(runFolder, "run.json")),
  );
  const evidence: Evidence[] = [];
  for (const { const: model } of Model.anyOf) {
    const folder = join(runFolder, model);
    if (!existsSync(folder)) continue;
    const ofModel: Evidence[] = [];
    for (const name of await readdir(folder)) {
      if (!name.endsWith(".json")) continue;
      const file = join(folder, name);
      ofModel.push(validated(file, Evidence, await readJson(file)));
    }
    ofModel.sort((a, b) => a.started_at.localeCompare(b.started_at));
    evidence.push(...ofModel);
  }
  return { info, evidence };
}

/** The newest folder of `runsFolder` that has a `run.json`; undefined when there is none. */
export async function newestRun(runsFolder: string): Promise<string | undefined> {
  if (!existsSync(runsFolder)) return undefined;
  return (await readdir(runsFolder))
    .sort()
    .reverse()
    .map((id) => join(runsFolder, id))
    .find((folder) => existsSync(join(folder, "run.json")));
}

async function readJson(file: string): Promise<unknown> {
  const json = await readFile(file, "utf8");
  try {
    return JSON.parse(json);
  } catch (error) {
    throw new Error(`${file} is not JSON`, { cause: error });
  }
}

async function writeJson(file: string, value: unknown): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  const half = `${file}.${process.pid}.half`;
  try {
    await writeFile(half, `${JSON.stringify(value, storable, 2)}\n`);
    await rename(half, file);
  } catch (error) {
    await rm(half, { force: true });
    throw error;
  }
}

/** A copy of the value as it survives JSON. */
export function storableCopy(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, storable) ?? "null");
}

/** A value that a check compared may have no JSON form: keep it as text, lose nothing silently. */
function storable(_key: string, value: unknown): unknown {
  if (value === undefined) return null;
  if (typeof value === "bigint") return Number(value);
  if (value instanceof Map) return Object.fromEntries(value);
  if (value instanceof Set) return [...value];
  if (value instanceof Error) return String(value);
  return value;
}
