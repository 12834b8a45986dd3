// The message for each way in which Docker can be missing. A script replaces `docker`: only the parsing of its answers is tested.
import { afterAll, expect, test } from "bun:test";
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lookForDocker } from "./compose-engine.ts";

const folder = mkdtempSync(join(tmpdir(), "lab-docker-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** A PATH with a `docker` whose `version` and `compose version` are those lines of shell. */
function pathWith({ compose = "echo 2.26.1-4", engine = "echo 26.1.5+dfsg1" }): string {
  const path = mkdtempSync(join(folder, "path-"));
  const script = `#!/bin/sh\nif [ "$1" = compose ]; then ${compose}; else ${engine}; fi\n`;
  writeFileSync(join(path, "docker"), script);
  chmodSync(join(path, "docker"), 0o755);
  return path;
}

const fails = (text: string) => `echo "${text}" >&2; exit 1`;

test("versions are those of the engine and of Compose", () => {
  expect(lookForDocker(pathWith({}))).toEqual({
    engine: { version: "26.1.5" },
    compose: { version: "2.26.1" },
  });
});

test("without docker both are missing", () => {
  const { compose, engine } = lookForDocker(mkdtempSync(join(folder, "path-")));
  expect(engine).toEqual(compose);
  expect(engine).toEqual({
    problem: expect.stringMatching(/^docker is not installed\. Type:\n.*get\.docker\.com/),
  });
});

test.each([
  [
    "permission denied while trying to connect to the Docker daemon socket at unix:///var/run/docker.sock",
    /^you may not use .*\n {2}sudo usermod -aG docker \$USER$/,
  ],
  [
    "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?",
    /^no Docker engine .*\n {2}Linux: {2}sudo systemctl start docker\n/,
  ],
  ["client version 1.99 is too new", /^the Docker engine refuses: client version 1\.99/],
])("an engine that answers %p", (answer, problem) => {
  const host = process.env["DOCKER_HOST"];
  delete process.env["DOCKER_HOST"];
  try {
    expect(lookForDocker(pathWith({ engine: fails(answer) }))).toEqual({
      engine: { problem: expect.stringMatching(problem) },
      compose: { version: "2.26.1" },
    });
  } finally {
    if (host !== undefined) process.env["DOCKER_HOST"] = host;
  }
});

test("a DOCKER_HOST that nobody answers at is named", () => {
  const host = process.env["DOCKER_HOST"];
  process.env["DOCKER_HOST"] = "unix:///nowhere.sock";
  try {
    const engine = fails("Cannot connect to the Docker daemon at unix:///nowhere.sock.");
    expect(lookForDocker(pathWith({ engine })).engine).toEqual({
      problem: expect.stringMatching(/DOCKER_HOST=unix:\/\/\/nowhere\.sock\. Type:\n {2}unset/),
    });
  } finally {
    if (host === undefined) delete process.env["DOCKER_HOST"];
    else process.env["DOCKER_HOST"] = host;
  }
});

test.each([
  [fails("docker: 'compose' is not a docker command."), /^Docker Compose is missing\. Type:\n/],
  ["echo 2.17.2", /^Docker Compose 2\.17\.2 is older than 2\.20\.3\. Type:\n/],
  ["echo v2.5", /^Docker Compose 2\.5 is older/],
])("a Compose that answers %p", (compose, problem) => {
  expect(lookForDocker(pathWith({ compose }))).toEqual({
    engine: { version: "26.1.5" },
    compose: { problem: expect.stringMatching(problem) },
  });
});

test("an engine can be too old for the compose files", () => {
  expect(lookForDocker(pathWith({ engine: "echo 20.10.24+dfsg1" })).engine).toEqual({
    problem: expect.stringMatching(/^Docker engine 20\.10\.24 is older than 25\.0\.0\. Type:\n/),
  });
});
