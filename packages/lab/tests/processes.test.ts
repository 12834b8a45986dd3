import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { models } from "@lab/evidence/experiments";
import { factsOf } from "../brokers/model-facts.ts";
import { isAlive } from "../host/process-id.ts";
import { startModel, startService } from "../services/processes.ts";
import { killServices, spawnService } from "../services/process-handle.ts";
import { eventually, settled } from "../host/waiting.ts";

const folder = mkdtempSync(join(tmpdir(), "lab-processes-"));
afterAll(() => rmSync(folder, { recursive: true }));

const inventory = (env: Record<string, string> = {}) =>
  startService({
    model: "sync-rest",
    service: "inventory-service",
    folder: mkdtempSync(join(folder, "service-")),
    env,
  });

const status = async (url: string) => (await fetch(`${url}/health`)).status;

test("a service can be killed and started again on its port and database", async () => {
  await using service = await inventory();
  const { url, pid, database } = service;
  expect(await status(url)).toBe(200);
  await service.kill();
  expect(await service.exited).toBe(137);
  expect(isAlive(pid)).toBe(false);
  await service.restart();
  expect(service.pid).not.toBe(pid);
  expect([service.url, service.database]).toEqual([url, database]);
  expect(await status(url)).toBe(200);
  expect(await service.stop()).toBe(0);
});

test("an environment given to restart is for that start only", async () => {
  await using service = await inventory({ LAB_FAULTS: "off" });
  const faults = async () => (await fetch(`${service.url}/faults`)).status;
  expect(await faults()).toBe(404);
  await service.restart({ LAB_FAULTS: "on" });
  expect(await faults()).toBe(200);
  await service.restart();
  expect(await faults()).toBe(404);
});

test("a port that another process has is refused by every service, and named", async () => {
  // The most permissive listener: the second one is the one that must refuse.
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    reusePort: true,
    fetch: () => new Response(),
  });
  const services = models.flatMap(({ model }) =>
    factsOf(model).services.map((service) => ({ model, service })),
  );
  const said = services.map(async (one) => {
    const env = { PORT: `${server.port}` };
    const own = mkdtempSync(join(folder, "service-"));
    return startService({ ...one, folder: own, env }).catch((error: Error) => error.message);
  });
  expect(await Promise.all(said)).toEqual(
    services.map(
      ({ service }) =>
        `${service} ended before it was ready, with exit code 2:\nport ${server.port} on 127.0.0.1 is in use by another process: stop that, or set PORT`,
    ),
  );
});

test("a paused service answers once it is resumed, and can be stopped while paused", async () => {
  await using service = await inventory();
  await service.pause();
  let answer: number | undefined;
  const answered = status(service.url).then((code) => (answer = code));
  await settled("no answer", () => answer, { forMs: 50, everyMs: 5 });
  await service.resume();
  expect(await answered).toBe(200);
  await service.pause();
  expect(await service.stop()).toBe(0);
});

test("started by hand in anybody's shell, a service listens on loopback and calls its neighbours directly", async () => {
  // A name of this machine, or of another; a proxy where nobody listens.
  const proxy = "http://127.0.0.1:9";
  const shell = { HOST: "x86_64-conda-linux-gnu", LOG_LEVEL: "INFO", HTTP_PROXY: proxy };
  await using campus = await startModel("sync-rest", {
    folder: mkdtempSync(join(folder, "shell-")),
    env: { ...shell, http_proxy: proxy, no_proxy: "example.org", NODE_ENV: "test", DEBUG: "*" },
  });
  const answer = await fetch(`${campus.order.url}/order`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user_id: "u1", items: [{ sku: "taco", qty: 1 }] }),
  });
  expect([new URL(campus.order.url).hostname, answer.status]).toEqual(["127.0.0.1", 201]);
});

test("a service that doesn't start says why, and leaves nothing running", async () => {
  expect(inventory({ PORT: "99999" })).rejects.toThrow(
    /^inventory-service ended before it was ready, with exit code 2:\nbad environment:\n {2}PORT=/,
  );
  expect(killServices()).toEqual([]);
});

test("a service that ends by itself is an error when it is disposed", async () => {
  const service = await inventory();
  process.kill(service.pid, "SIGTERM");
  await service.exited;
  expect(service[Symbol.asyncDispose]()).rejects.toThrow(
    /^inventory-service had ended by itself with exit code 0:\n.*"event":"stopped"/s,
  );
});

test("a service that has ended by itself can't be killed, stopped or brought back unnoticed", async () => {
  const service = await inventory();
  process.kill(service.pid, "SIGTERM");
  await service.exited;
  for (const end of [() => service.kill(), () => service.stop(), () => service.restart()]) {
    expect(end()).rejects.toThrow(/^inventory-service had ended by itself with exit code 0:\n/);
  }
});

test("a service that is started with a crash ahead is expected to end, that once", async () => {
  const service = await inventory({ LAB_FAULTS: "on" });
  await service.restart({ LAB_CRASH_AT: "stopping:1" });
  expect(await service.stop()).toBe(137);
  await service.restart();
  process.kill(service.pid, "SIGTERM");
  await service.exited;
  expect(service.restart()).rejects.toThrow("had ended by itself");
});

test("a service that names a problem isn't waited for: its words are the error", async () => {
  const own = mkdtempSync(join(folder, "service-"));
  const options = { model: "sync-rest", service: "inventory-service", folder: own } as const;
  const says = { status: "down", broker: false, problems: ["queue q has x-max-length 5"] };
  using shown = Bun.serve({ port: 0, fetch: () => Response.json(says, { status: 503 }) });
  const spawn = async (env: Record<string, string>) => {
    const { pid, exited, signal } = spawnService(options, join(own, "inventory-service.log"), env);
    return { pid, signal, exited, hasEnded: false, url: `http://127.0.0.1:${shown.port}` };
  };
  await using service = await startService({ ...options, spawn });
  expect(service.healthy()).rejects.toThrow(
    "inventory-service can't do its work:\n  queue q has x-max-length 5",
  );
});

test("a restart after a stop that went wrong is an error", async () => {
  const own = mkdtempSync(join(folder, "service-"));
  const options = { model: "sync-rest", service: "inventory-service", folder: own } as const;
  const spawn = async (env: Record<string, string>) => {
    const { pid, exited, signal } = spawnService(options, join(own, "inventory-service.log"), env);
    return { pid, signal, hasEnded: false, exited: exited.then(() => 1) };
  };
  const service = await startService({ ...options, spawn });
  expect(service.restart()).rejects.toThrow(/^inventory-service stopped with exit code 1:\n/);
  await service.exited;
});

test("a model starts side by side, with faults on, and stops together", async () => {
  const campus = await startModel("sync-rest", {
    folder: mkdtempSync(join(folder, "model-")),
  });
  const { order, downstream, services } = campus;
  expect(services.map(({ name }) => name)).toEqual([
    "order-service",
    "inventory-service",
    "notification-service",
  ]);
  const placed = await fetch(`${order.url}/order`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({
      user_id: "u1",
      items: [{ sku: "burger", qty: 1 }],
    }),
  });
  expect(placed.status).toBe(201);
  expect((await fetch(`${downstream.url}/faults`)).status).toBe(200);
  await campus[Symbol.asyncDispose]();
  expect(services.map(({ pid }) => isAlive(pid))).toEqual([false, false, false]);
});

test("when one of a model's services doesn't start, none stays", async () => {
  expect(
    startModel("sync-rest", {
      folder: mkdtempSync(join(folder, "model-")),
      env: { INVENTORY_TIMEOUT_MS: "soon" },
    }),
  ).rejects.toThrow("INVENTORY_TIMEOUT_MS");
  expect(killServices()).toEqual([]);
});

/** A script that starts a service, prints its pid, and stays. */
function parent(options: { lasting: boolean; extra: string }) {
  const data = mkdtempSync(join(folder, "parent-"));
  const script = `
    import { startService } from ${JSON.stringify(join(import.meta.dir, "../services/processes.ts"))};
    const service = await startService({ model: "sync-rest", service: "inventory-service",
      folder: ${JSON.stringify(data)}, lasting: ${options.lasting} });
    ${options.extra};
    console.log(service.pid);
    setInterval(() => {}, 1_000);`;
  return Bun.spawn([process.execPath, "-e", script], { stdout: "pipe" });
}

async function firstLine(stream: ReadableStream<Uint8Array>) {
  for await (const bytes of stream) return Number(Buffer.from(bytes).toString());
  throw new Error("it printed nothing");
}

test.each(["SIGKILL", "SIGINT", "SIGTERM"] as const)(
  "no service outlives a parent that ends by %s, not even a paused one",
  async (signal) => {
    for (const extra of ["", "await service.pause()"]) {
      await using starter = parent({ lasting: false, extra });
      const pid = await firstLine(starter.stdout);
      expect(isAlive(pid)).toBe(true);
      starter.kill(signal);
      await eventually(`process ${pid} ends`, () => !isAlive(pid));
    }
  },
);

test("a lasting service outlives its parent, in a session of its own", async () => {
  await using starter = parent({ lasting: true, extra: "" });
  const pid = await firstLine(starter.stdout);
  starter.kill("SIGINT");
  await starter.exited;
  expect(isAlive(pid)).toBe(true);
  // It leads a group of its own, so this reaches it.
  process.kill(-pid, "SIGTERM");
  await eventually(`process ${pid} ends`, () => !isAlive(pid));
});
