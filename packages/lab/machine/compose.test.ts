// The owner of a project, and the variables that the shell must not set. The experiments test
// Docker itself.
import { expect, test } from "bun:test";
import { isStale, ownerId, variablesOf } from "./compose.ts";

/** Larger than any process id of Linux and macOS. */
const NOBODY = 2 ** 31 - 1;

test.each([
  ["of a process of ours that is gone", `campus-lab-${ownerId()}-kafka-${NOBODY}-0a1b2c3d`, true],
  [
    "of a process of ours that runs",
    `campus-lab-${ownerId()}-kafka-${process.pid}-0a1b2c3d`,
    false,
  ],
  ["of another lab on the same engine", `campus-lab-00000000-kafka-${NOBODY}-0a1b2c3d`, false],
  ["of lab up", "campus-lab-up-kafka-0a1b2c3d", false],
  ["of docker compose up", "campus-async", false],
])("a project %s", (_, name, stale) => {
  expect(isStale(name)).toBe(stale);
});

test("all that a compose file takes from the shell, and nothing else", () => {
  const text = `
    DELAY_MS:
    PORT: "\${A_PORT:-1}:\${B_PORT}"
    services:
    FIXED: "on"
    AGAIN: \${A_PORT}
`;
  expect(variablesOf(text).toSorted()).toEqual(["A_PORT", "B_PORT", "DELAY_MS"]);
});
