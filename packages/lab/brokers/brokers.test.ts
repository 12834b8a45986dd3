// Which broker is used. The brokers themselves are tested by the experiments.
import { afterEach, expect, test } from "bun:test";
import { startBroker } from "./brokers.ts";

const VARIABLES = ["LAB_BROKERS", "AMQP_URL", "KAFKA_BROKERS", "PATH"];
const before = VARIABLES.map((name) => [name, process.env[name]] as const);

afterEach(() => {
  for (const [name, value] of before) {
    if (value === undefined) delete process.env[name];
    else process.env[name] = value;
  }
});

test.each([
  [{ LAB_BROKERS: "docker" }, 'LAB_BROKERS="docker": expected external, compose or native'],
  [{ LAB_BROKERS: "external,docker" }, "expected external, compose or native"],
  [{ LAB_BROKERS: "external" }, "LAB_BROKERS=external needs AMQP_URL"],
  [{ LAB_BROKERS: "compose", PATH: "/nowhere" }, "LAB_BROKERS=compose: docker is not installed"],
  // Port 1: nobody listens.
  [{ AMQP_URL: "amqp://127.0.0.1:1" }, "AMQP_URL is set, but rabbitmq doesn't answer there"],
])("no broker: %p", async (env, message) => {
  for (const name of VARIABLES) delete process.env[name];
  Object.assign(process.env, env);
  const outcome = await startBroker("rabbitmq").catch((error) => error);
  expect(String(outcome)).toContain(message);
});
