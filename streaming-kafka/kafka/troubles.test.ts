import { expect, test } from "bun:test";
import type { Log } from "@lab/runtime/log";
import {
  KafkaJSConnectionError,
  KafkaJSNumberOfRetriesExceeded,
  KafkaJSProtocolError,
} from "kafkajs";
import { BlockingError, isBug, isPartitionError } from "./errors.ts";
import { Troubles } from "./troubles.ts";

function troublesOf() {
  const lines: string[] = [];
  const at = (level: string) => (event: string, fields?: Record<string, unknown>) =>
    void lines.push([level, event, ...Object.values(fields ?? {})].join(" "));
  const log: Log = { debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
  return { lines, troubles: new Troubles(log) };
}

/** A broker's error as kafkajs throws it after its last retry. */
function brokerError(type: string, retriable: boolean): Error {
  const error = new KafkaJSProtocolError({ type, message: "no", retriable } as never);
  return new KafkaJSNumberOfRetriesExceeded(error, { retryCount: 5, retryTime: 1 } as never);
}

const refused = new KafkaJSConnectionError("connect ECONNREFUSED" as never);

test("what may pass is logged once and is no problem, what may not is one at once", () => {
  const { lines, troubles } = troublesOf();
  for (let n = 0; n < 3; n += 1) troubles.noteError("connection", refused);
  expect(troubles.problems).toEqual([]);
  expect(troubles.passing).toEqual(["connection: KafkaJSConnectionError: connect ECONNREFUSED"]);
  const denied = brokerError("TOPIC_AUTHORIZATION_FAILED", false);
  for (let n = 0; n < 3; n += 1) troubles.noteError("connection", denied);
  expect(troubles.problems).toEqual(["connection: TOPIC_AUTHORIZATION_FAILED: no"]);
  troubles.noteError("topics", brokerError("INVALID_REPLICATION_FACTOR", false));
  troubles.clear("connection");
  troubles.clear("connection");
  expect(troubles.problems).toEqual([]);
  expect(lines).toEqual([
    "warn trouble connection KafkaJSConnectionError: connect ECONNREFUSED",
    "error trouble connection TOPIC_AUTHORIZATION_FAILED: no",
    "warn trouble topics INVALID_REPLICATION_FACTOR: no",
    "info trouble_over connection",
  ]);
});

test("a bug is told from what Kafka, the network and other people are to blame for", () => {
  const wrapped = new KafkaJSNumberOfRetriesExceeded(new TypeError("x"), {
    retryCount: 0,
  } as never);
  const reset = Object.assign(new Error("read"), { code: "ECONNRESET" });
  const errors = [
    new TypeError("x"),
    wrapped,
    new Error("x"),
    refused,
    reset,
    new BlockingError("x"),
  ];
  expect(errors.map(isBug)).toEqual([true, true, true, false, false, false]);
});

test("a partition stands by itself for what isn't of its group, nor of the network", () => {
  const errors = [
    brokerError("UNKNOWN_TOPIC_OR_PARTITION", true),
    brokerError("MESSAGE_TOO_LARGE", false),
    brokerError("REBALANCE_IN_PROGRESS", false),
    brokerError("UNKNOWN_MEMBER_ID", false),
    refused,
  ];
  expect(errors.map(isPartitionError)).toEqual([true, true, false, false, false]);
});

test("a bug that comes up while connecting ends the process, with its name", async () => {
  const script = `
    import { createLog } from "@lab/runtime/log";
    import { connectPersistently } from "./membership.ts";
    import { Troubles } from "./troubles.ts";
    const troubles = new Troubles(createLog("test", "error"));
    await connectPersistently(troubles, () => false, async () => undefined.topics);`;
  const ended = Bun.spawnSync([process.execPath, "-e", script], { cwd: import.meta.dir });
  expect(ended.stderr.toString()).toContain("TypeError: undefined is not an object");
  expect(ended.exitCode).toBe(1);
});
