// For [test] preload in bunfig.toml: what must run once, after the last test file of a `bun test`.
import { afterAll } from "bun:test";
import { cleanUpNow } from "../host/at-exit.ts";
import { bypassProxy, settings } from "@lab/evidence/settings";
import { stopBrokers } from "../brokers/shared-brokers.ts";

bypassProxy();
// An invalid variable stops the run here, before a broker is started.
settings();

afterAll(async () => {
  await stopBrokers();
  // `bun test` ends without an `exit` event.
  cleanUpNow();
}, 60_000);
