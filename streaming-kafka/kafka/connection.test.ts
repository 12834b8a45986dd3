import { expect, test } from "bun:test";
import { Kafka, logLevel } from "kafkajs";
import { connectWatched } from "./connection.ts";

test("a broker that answers nothing isn't taken for connected", async () => {
  using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const kafka = new Kafka({
    brokers: [`127.0.0.1:${silent.port}`],
    socketFactory: connectWatched,
    connectionTimeout: 100,
    requestTimeout: 100,
    enforceRequestTimeout: true,
    retry: { initialRetryTime: 10, retries: 2 },
    logLevel: logLevel.NOTHING,
  });
  const admin = kafka.admin();
  const end = await admin.connect().catch((error: Error) => error.message);
  expect(end).toContain("timed out");
  await admin.disconnect();
});
