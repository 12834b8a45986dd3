import { spawnSync } from "node:child_process";

// The compose files use a health check's start_interval, which older engines refuse.
const OLDEST_ENGINE = "25.0.0";
const OLDEST_COMPOSE = "2.20.3";
/** An engine on this machine answers in milliseconds; one that hangs counts as missing. */
const ANSWER_TIMEOUT_MS = 10_000;

const GET_DOCKER = `  Linux:  curl -fsSL https://get.docker.com | sudo sh
  macOS:  brew install --cask docker-desktop`;

/** A sufficient version, or why there is none and what to type. */
export type Look = { version: string } | { problem: string };

/** Which Docker engine and which Compose this machine has; `path` is where `docker` is looked for. */
export function lookForDocker(path = process.env["PATH"] ?? ""): { engine: Look; compose: Look } {
  const cli = Bun.which("docker", { PATH: path });
  if (cli === null) {
    const problem = `docker is not installed. Type:\n${GET_DOCKER}`;
    return { engine: { problem }, compose: { problem } };
  }
  return {
    engine: look("Docker engine", OLDEST_ENGINE, GET_DOCKER, () => {
      const answer = ask(cli, "version", "--format", "{{.Server.Version}}");
      return { answer, problem: engineProblem(answer) };
    }),
    compose: look("Docker Compose", OLDEST_COMPOSE, GET_COMPOSE, () => {
      const answer = ask(cli, "compose", "version", "--short");
      return { answer, problem: `Docker Compose is missing. Type:\n${GET_COMPOSE}` };
    }),
  };
}

/** Why brokers and services can't run in containers here, with what to type; undefined when they can. */
export function dockerProblem(): string | undefined {
  const { compose, engine } = lookForDocker();
  return [engine, compose].map((one) => ("problem" in one ? one.problem : undefined)).find(Boolean);
}

const GET_COMPOSE = `  Docker's own packages:  sudo apt-get install -y docker-compose-plugin
  Ubuntu:                 sudo apt-get install -y docker-compose-v2
  macOS:                  brew install --cask docker-desktop`;

interface Answer {
  /** Undefined when it didn't answer in time. */
  code: number | null;
  out: string;
  error: string;
}

function look(
  title: string,
  oldest: string,
  howToGet: string,
  question: () => { answer: Answer; problem: string },
): Look {
  const { answer, problem } = question();
  const version = /\d+\.\d+(\.\d+)?/.exec(answer.out)?.[0];
  if (answer.code !== 0 || version === undefined) return { problem };
  // 2.26 is a complete version for Docker, an incomplete one for semver.
  const whole = version.split(".").length === 2 ? `${version}.0` : version;
  if (Bun.semver.order(whole, oldest) >= 0) return { version };
  return { problem: `${title} ${version} is older than ${oldest}. Type:\n${howToGet}` };
}

function engineProblem({ code, error }: Answer): string {
  if (code === null) return "the Docker engine doesn't answer within 10 s: start it again";
  if (/permission denied/i.test(error)) {
    return "you may not use the Docker engine's socket. Type, then log in again:\n  sudo usermod -aG docker $USER";
  }
  const host = process.env["DOCKER_HOST"];
  if (host) return `no Docker engine answers at DOCKER_HOST=${host}. Type:\n  unset DOCKER_HOST`;
  if (/cannot connect|no such file|connection refused/i.test(error)) {
    return "no Docker engine is running. Type:\n  Linux:  sudo systemctl start docker\n  macOS:  open -a Docker";
  }
  return `the Docker engine refuses: ${error.trim()}`;
}

function ask(cli: string, ...words: string[]): Answer {
  const { status, stderr, stdout } = spawnSync(cli, words, {
    encoding: "utf8",
    timeout: ANSWER_TIMEOUT_MS,
  });
  return { code: status, out: stdout, error: stderr };
}
