import { expect, test } from "bun:test";
import { redact, type Traces } from "./redact.ts";

const traces: Traces = {
  folders: [
    ["/home/ada/lab", "<repo>"],
    ["/home/ada", "<home>"],
  ],
  hostnames: ["ada-laptop.lan", "ada-laptop"],
};

test("folders and host names go, wherever they stand", () => {
  expect(
    redact(
      {
        text: "database /home/ada/lab/.lab/x.db, node rabbit@ada-laptop",
        nested: [{ "/home/ada/cache": "/tmp/lab-1/x", n: 3, none: null }],
        other: "/Users/bob/lab and /root/.cache",
      },
      traces,
    ),
  ).toEqual({
    text: "database <repo>/.lab/x.db, node rabbit@<host>",
    nested: [{ "<home>/cache": "<tmp>/lab-1/x", n: 3, none: null }],
    other: "<home>/lab and <home>/.cache",
  } as never);
});

test("what the lab itself says stays", () => {
  const text =
    "GET /orders/1, adapter canada, /reserve, http://127.0.0.1:8001/tmp/x, root cause, unknown";
  expect(redact(text, traces)).toBe(text);
});

test("a host with a common name is taken from Erlang nodes only", () => {
  const common = { ...traces, hostnames: ["kafka"] };
  expect(redact("rabbit@kafka beside kafka 4.2.0", common)).toBe(
    "rabbit@<host> beside kafka 4.2.0",
  );
});
