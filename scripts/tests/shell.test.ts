// The lab in the shells, folders and environments of typical users.
import { repoFolder } from "@lab/evidence/folders";
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { checkEnvironment, serviceSettings } from "../up/environment.ts";

const folder = mkdtempSync(join(tmpdir(), "Übung an der Uni-"));
const before = { ...process.env };
afterAll(() => {
  process.env = before;
  rmSync(folder, { recursive: true });
});

/**
 * Variables of other programs that a shell may have, with the same names or for the same programs.
 */
const SHELL = {
  HOST: "x86_64-conda-linux-gnu",
  DATABASE: "postgres",
  PORT: "3000",
  DEBUG: "*",
  NODE_ENV: "test",
  NODE_OPTIONS: "--bogus",
  http_proxy: "http://127.0.0.1:9",
  HTTP_PROXY: "http://127.0.0.1:9",
  no_proxy: "example.org",
  CDPATH: "/:/tmp",
  TMPDIR: "/nonexistent",
  HOME: "/nonexistent",
  POSIXLY_CORRECT: "1",
};

async function run(command: string[], env: Record<string, string> = {}) {
  await using child = Bun.spawn(command, {
    cwd: folder,
    env: { ...before, ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [out, error, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  return { out, error, code };
}

test("the lab is called from anywhere, through links, with CDPATH and a home that isn't there", async () => {
  symlinkSync(join(repoFolder, "scripts", "lab"), join(folder, "first"));
  symlinkSync("first", join(folder, "lab"));
  const help = (await run([join(repoFolder, "scripts", "lab"), "help"])).out;
  expect(help).toContain("Usage: scripts/lab");
  const PATH = `${folder}:${before["PATH"]}`;
  const ways = [["lab"], ["./lab"], ["sh", "lab"], [join(folder, "lab")]];
  for (const way of ways) {
    const env = { ...SHELL, PATH };
    expect(await run([...way, "help"], env)).toEqual({ out: help, error: "", code: 0 });
  }
}, 60_000);

test("an error lists every variable of the lab's that is wrong or misspelt, before any command", async () => {
  process.env = {
    PATH: before["PATH"],
    LAB_SEED: "abc",
    LAB_BROKERS: "foo",
    LAB_OUTAGES_S: "5",
    LAB_STORM_MINUTES: "1e9",
    ORDER_PORT: "0",
    AMQP_URL: "amqp:/u:secret@x",
    KAFKA_BROKERS: "127.0.0.1:9092,127.0.0.1:99999",
    ANALYTICS_URL: "http://127.0.0.1:99999",
    LAB_OF_PHYSICS: "a stranger's",
  };
  const lines = [
    "bad environment:",
    '  AMQP_URL="amqp:/***@x": expected amqp://user:password@host:port',
    '  KAFKA_BROKERS="127.0.0.1:9092,127.0.0.1:99999": expected host:port, with commas between',
    '  ANALYTICS_URL="http://127.0.0.1:99999": expected http://host:port',
    '  LAB_BROKERS="foo": expected external, compose or native',
    '  LAB_SEED="abc": expected integer',
    '  LAB_STORM_MINUTES="1e9": expected number to be less or equal to 1440',
    '  ORDER_PORT="0": expected integer to be greater or equal to 1',
    "  LAB_OUTAGES_S is no variable of the lab's: did you mean LAB_OUTAGE_S?",
  ];
  expect(checkEnvironment).toThrow(new Error(lines.join("\n")));
  const lab = [process.execPath, "--no-env-file", join(repoFolder, "scripts", "lab.ts")];
  const status = await run([...lab, "status"], { LAB_SEED: "abc" });
  const error = 'lab: bad environment:\n  LAB_SEED="abc": expected integer\n';
  expect(status).toEqual({ out: "", error, code: 2 });
});

test("a service gets of the shell what it has a knob for, and nothing that up decides", async () => {
  const wanted = { INVENTORY_DELAY_MS: "20", LOG_LEVEL: "INFO", LISTEN_HOST: "127.0.0.1" };
  process.env = { ...before, ...SHELL, ...wanted };
  expect(await serviceSettings("sync-rest")).toEqual(wanted);
  // The services import Elysia, whose formats must not replace the lab's.
  process.env = {};
  expect(checkEnvironment).not.toThrow();
  process.env = { INVENTORY_DELAY_MS: "soon", OPENING_STOCK: "-1", LOG_LEVEL: "trace" };
  const lines = [
    "bad environment:",
    '  LOG_LEVEL="trace": expected debug or info or warn or error',
    '  INVENTORY_DELAY_MS="soon": expected integer',
    '  OPENING_STOCK="-1": expected integer to be greater or equal to 0',
  ];
  expect(serviceSettings("async-rabbitmq")).rejects.toThrow(new Error(lines.join("\n")));
});

test("who prints without an end hears that nobody reads any more", async () => {
  const script = `
    const { print, PIPE_CLOSED, outputClosed } = await import(${JSON.stringify(join(repoFolder, "scripts/say.ts"))});
    void outputClosed().then(() => process.exit(PIPE_CLOSED));
    for (;;) { print("line"); await Bun.sleep(1); }`;
  const command = `"$0" -e "$1"; echo $? >&2`;
  const piped = await run(["sh", "-c", `(${command}) | head -n 1`, process.execPath, script]);
  expect(piped).toEqual({ out: "line\n", error: "141\n", code: 0 });
});
