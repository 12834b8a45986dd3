// The errors for a broker's container that can't or mustn't be used again. A script that answers like Docker replaces it.
import { afterAll, afterEach, beforeEach, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { attachCompose, composePaused, endCompose, startComposeAgain } from "./compose-broker.ts";
import { type ComposeProject, pause } from "../machine/compose.ts";
import { freePorts } from "../host/ports.ts";

const folder = mkdtempSync(join(tmpdir(), "lab-compose-"));
const env = { PATH: process.env["PATH"], DOCKER_HOST: process.env["DOCKER_HOST"] };
const project: ComposeProject = {
  name: "campus-lab-up-kafka-0a1b2c3d",
  model: "streaming-kafka",
  folder,
  env: {},
  lasting: true,
};
let port = 0;

beforeEach(async () => {
  [port] = (await freePorts(1)) as [number];
  project.env = { KAFKA_PORT: String(port) };
  const plan = { name: "kafka", project, address: `127.0.0.1:${port}`, answered: true };
  writeFileSync(join(folder, "compose.json"), JSON.stringify(plan));
  delete process.env["DOCKER_HOST"];
});
afterEach(() => {
  for (const [name, value] of Object.entries(env)) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Puts a `docker` on the PATH that answers those lines of shell to `version`, `ps --status paused`, `volume ls` and `pause`. */
function docker({ version = "echo 26.1.5", paused = "", volumes = "", pausing = "" }): void {
  const script = `#!/bin/sh
case "$*" in
  "compose version"*) echo 2.26.1 ;;
  version*) ${version} ;;
  *"--status paused"*) ${paused} : ;;
  *"volume ls"*) ${volumes} : ;;
  *" pause kafka") ${pausing} : ;;
esac
`;
  writeFileSync(join(folder, "docker"), script);
  chmodSync(join(folder, "docker"), 0o755);
  process.env["PATH"] = `${folder}:${env.PATH}`;
}

const failureOf = (started: Promise<unknown>) => started.then(() => "nothing", String);

test("one that is paused is there, isn't started twice, and what lets it go on is named", async () => {
  docker({ paused: "echo 0123456789abcdef;" });
  expect(await composePaused(folder)).toBe(true);
  expect(await failureOf(attachCompose(folder))).toContain(
    "kafka is paused: docker unpause 0123456789ab lets it go on, docker kill 0123456789ab ends it",
  );
});

test("one whose volume is gone isn't started on an empty one", async () => {
  docker({ volumes: "echo campus-lab-up-kafka-0a1b2c3d_data;" });
  expect(await failureOf(startComposeAgain(folder, undefined))).toContain(
    "kafka's data are gone: there is no volume campus-lab-up-kafka-0a1b2c3d_kafka any more",
  );
});

test("one whose port somebody else has is told so", async () => {
  docker({ volumes: "echo campus-lab-up-kafka-0a1b2c3d_kafka;" });
  const other = createServer().listen(port, "127.0.0.1");
  expect(await failureOf(startComposeAgain(folder, undefined))).toContain(
    `port ${port} is in use, and kafka is to have it again: stop what runs there`,
  );
  await new Promise((closed) => other.close(closed));
});

test("without an engine neither its start nor its end is a riddle", async () => {
  docker({ version: "echo 'Cannot connect to the Docker daemon' >&2; exit 1" });
  const told = "kafka is a container: no Docker engine is running. Type:";
  expect(await failureOf(startComposeAgain(folder, undefined))).toContain(told);
  expect(await failureOf(endCompose(folder))).toContain(told);
});

test("once it has ended, no engine is needed to know that, and what can't be read of it is named", async () => {
  docker({});
  expect(await endCompose(folder)).toBe(false);
  docker({ version: "exit 1" });
  expect(await endCompose(folder)).toBe(false);
  writeFileSync(join(folder, "compose.json"), "{");
  expect(await failureOf(endCompose(folder))).toContain("compose.json can't be read");
});

test("one that slips out of the freezer is frozen again", async () => {
  const once = join(folder, "once");
  docker({
    pausing: `[ -e '${once}' ] || { touch '${once}'; echo 'unable to freeze' >&2; exit 1; };`,
  });
  expect(await failureOf(pause(project, "kafka"))).toBe("nothing");
});
