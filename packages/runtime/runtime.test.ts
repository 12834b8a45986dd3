import { expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { Batches } from "./work/batches.ts";
import { HttpUrl, readEnv, serviceKnobs } from "./env.ts";
import { createFaults, Faults, failsAt, faultKnobs } from "./faults.ts";
import { createLog } from "./log.ts";
import { Repeater } from "./work/repeater.ts";

const Config = Type.Object({
  ...serviceKnobs({ port: 8001, database: "x.sqlite" }),
  ...faultKnobs("inventory"),
  inventoryTimeoutMs: Type.Integer({ minimum: 1, default: 5000 }),
});

test("an empty environment gives the defaults", () => {
  expect(readEnv(Config, { PORT: "" })).toMatchObject({
    listenHost: "127.0.0.1",
    port: 8001,
    labFaults: "off",
    inventoryTimeoutMs: 5000,
  });
});

test("one message names every variable that is wrong", () => {
  expect(() =>
    readEnv(Config, {
      PORT: "70000",
      INVENTORY_TIMEOUT_MS: "5s",
      LAB_FAULTS: "yes",
    }),
  ).toThrow(/PORT=.*\n.*LAB_FAULTS=.*\n.*INVENTORY_TIMEOUT_MS=/);
});

test("a number is read whole or not at all, a word in any case", () => {
  const env = { INVENTORY_TIMEOUT_MS: " 1e3 ", LOG_LEVEL: "INFO", LAB_FAULTS: "On", PORT: " " };
  expect(readEnv(Config, env)).toMatchObject({
    inventoryTimeoutMs: 1000,
    logLevel: "info",
    labFaults: "on",
    port: 8001,
  });
  for (const bad of ["1.5", "0x", "5 s", "1e400", "NaN", "-1"]) {
    expect(() => readEnv(Config, { INVENTORY_TIMEOUT_MS: bad })).toThrow("INVENTORY_TIMEOUT_MS=");
  }
  const bad = { LOG_LEVEL: "trace", DATABASE: "postgres" };
  expect(() => readEnv(Config, bad)).toThrow(
    /DATABASE="postgres".*\n.*LOG_LEVEL="trace": expected debug or info or warn or error/,
  );
});

test("a service listens at a name or an address, and at nothing else", () => {
  for (const host of ["localhost", "lab-1.example", "0.0.0.0", "::", "::1"]) {
    expect(readEnv(Config, { LISTEN_HOST: ` ${host} ` }).listenHost).toBe(host);
  }
  for (const bad of ["999.1.1.1", "a b", "http://127.0.0.1", "127.0.0.1:8001", "a/b", "u@a"]) {
    expect(() => readEnv(Config, { LISTEN_HOST: bad })).toThrow(
      /LISTEN_HOST=".*": expected a host's name or address/,
    );
  }
});

test("a neighbour's address is one that can be called", () => {
  const Caller = Type.Object({
    inventoryUrl: HttpUrl("http://127.0.0.1:8002"),
    kafkaBrokers: Type.String({ format: "host-ports", default: "" }),
  });
  const right = { INVENTORY_URL: "http://[::1]:8002", KAFKA_BROKERS: "kafka:9092,127.0.0.1:1" };
  expect(readEnv(Caller, right).kafkaBrokers).toBe(right.KAFKA_BROKERS);
  expect(readEnv(Caller, {}).kafkaBrokers).toBe("");
  for (const bad of [{ INVENTORY_URL: "http://a:99999" }, { KAFKA_BROKERS: "a:1,b:99999" }]) {
    expect(() => readEnv(Caller, bad)).toThrow(`${Object.keys(bad)[0]}=`);
  }
});

test("faults need LAB_FAULTS=on", () => {
  const env = { INVENTORY_DELAY_MS: "10" };
  expect(() => createFaults("inventory", readEnv(Config, env))).toThrow("LAB_FAULTS=on");
  const on = readEnv(Config, { ...env, LAB_FAULTS: "on" });
  expect(createFaults("inventory", on).settings.delay_ms).toBe(10);
});

const OFF = { delay_ms: 0, fail_rate: 0, hang: false, throttle_ms: 0, seed: 1 };

test("calls fail where the seed says, and counting begins anew with new faults", async () => {
  const settings = { ...OFF, fail_rate: 0.3, seed: 5 };
  const faults = new Faults(true, settings);
  const run = () =>
    Promise.all(
      Array.from({ length: 50 }, () =>
        faults.strike().then(
          () => false,
          () => true,
        ),
      ),
    );
  const expected = Array.from({ length: 50 }, (_, n) => failsAt(settings, n + 1));
  expect(await run()).toEqual(expected);
  faults.set(settings);
  expect(await run()).toEqual(expected);
  expect(expected).toContain(true);
});

test("a hang ends with new faults, and nothing strikes when faults are off", async () => {
  const faults = new Faults(true, { ...OFF, hang: true });
  let kept = 0;
  const struck = faults.strike(async () => {
    kept += 1;
  });
  faults.set(OFF);
  await struck;
  expect(kept).toBeGreaterThan(0);
  await new Faults(false, { ...OFF, hang: true, fail_rate: 1 }).strike();
});

test("a wait isn't a busy one, down to its last part of a millisecond", async () => {
  const faults = new Faults(true, { ...OFF, delay_ms: 3 });
  let turns = 0;
  for (let n = 0; n < 20; n += 1) await faults.strike(async () => void (turns += 1));
  expect(turns).toBeLessThanOrEqual(2 * 20);
});

test("what arrives while a batch is worked on is the next batch", async () => {
  const seen: number[][] = [];
  const batches = new Batches<number>(
    () => 3,
    async (batch) => {
      seen.push(batch);
      if (batch.includes(1)) for (const n of [5, 6]) batches.push(n);
    },
  );
  for (const n of [1, 2, 3, 4]) batches.push(n);
  await batches.idle();
  expect(seen).toEqual([
    [1, 2, 3],
    [4, 5, 6],
  ]);
});

test("a repeater runs again when woken, and not after its stop", async () => {
  let runs = 0;
  const second = Promise.withResolvers<void>();
  const repeater = new Repeater(createLog("test", "error"), 3_600_000, async () => {
    runs += 1;
    if (runs === 2) second.resolve();
    return "idle";
  });
  repeater.wake();
  await second.promise;
  await repeater.stop();
  repeater.wake();
  expect(runs).toBe(2);
});

test("a repeater that has left nothing rests until it is woken, one that has left something doesn't", async () => {
  const runs = { idle: 0, again: 0 };
  const third = Promise.withResolvers<void>();
  const resting = new Repeater(createLog("test", "error"), 1, async () => {
    runs.idle += 1;
    return "idle";
  });
  const retrying = new Repeater(createLog("test", "error"), 1, async () => {
    runs.again += 1;
    if (runs.again === 3) third.resolve();
  });
  await third.promise;
  expect(runs.idle).toBe(1);
  await Promise.all([resting.stop(), retrying.stop()]);
});

test("a repeater tries again what may pass, and what may not ends the process", async () => {
  const script = `
    import { createLog } from "${import.meta.dir}/log.ts";
    import { TransientError } from "${import.meta.dir}/transient.ts";
    import { Repeater } from "${import.meta.dir}/work/repeater.ts";
    let runs = 0;
    new Repeater(createLog("test", "error"), 1, async () => {
      runs += 1;
      console.log(runs);
      throw runs < 3 ? new TransientError("locked") : new TypeError("a bug");
    });`;
  const child = Bun.spawn([process.execPath, "-e", script], { stdout: "pipe", stderr: "pipe" });
  expect(await child.stdout.text()).toBe("1\n2\n3\n");
  expect(await child.stderr.text()).toContain("a bug");
  expect(await child.exited).toBe(1);
});
