// For [test] preload in bunfig.toml: what must happen once, after the last test file of a `bun test`.
import { afterAll } from "bun:test";
import { cleanUpNow } from "./at-exit.ts";
import { stopBrokers } from "./shared-brokers.ts";

afterAll(async () => {
  await stopBrokers();
  // `bun test` ends without an `exit` event.
  cleanUpNow();
}, 60_000);
