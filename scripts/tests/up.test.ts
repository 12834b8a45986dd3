// `up` and `down` of the model that needs no broker, as real processes in a copy of the clone.
import { ownLab } from "@lab/proof/kills/own-lab";
import { becomesFree } from "@lab/lab/host/ports";
import { isAlive } from "@lab/lab/host/process-id";
import { eventually } from "@lab/lab/host/waiting";
import { setFaults } from "@lab/lab/services/set-faults";
import { expect, test } from "bun:test";

const TIMEOUT_MS = 120_000;

type OwnLab = Awaited<ReturnType<typeof ownLab>>;

async function placeOrder(lab: OwnLab): Promise<void> {
  const { services } = await lab.status();
  const answer = await fetch(`${services[0]!.url}/order`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ user_id: "u1", items: [{ sku: "burger", qty: 1 }] }),
  });
  expect(answer.status).toBe(201);
}

async function countOrders(lab: OwnLab): Promise<number> {
  const { services } = await lab.status();
  const answer = await fetch(`${services[0]!.url}/orders`);
  return ((await answer.json()) as { orders: unknown[] }).orders.length;
}

async function pidsOf(lab: OwnLab): Promise<number[]> {
  return (await lab.status()).services.map(({ pid }) => pid);
}

test(
  "up brings back what has ended, on its data; a fresh start is asked for, or comes after down, and says what it deletes",
  async () => {
    await using lab = await ownLab();
    expect(await lab.run(["up"])).toMatchObject({
      code: 2,
      errors: expect.stringContaining("nothing is up"),
    });
    expect(await lab.run(["up", "sync"])).toMatchObject({ code: 0, errors: "" });
    await placeOrder(lab);

    for (const pid of await pidsOf(lab)) process.kill(pid, "SIGKILL");
    expect(await lab.run(["up"])).toMatchObject({
      code: 0,
      errors:
        "sync: started again on its database: order-service, inventory-service, notification-service\n",
    });
    expect(await countOrders(lab)).toBe(1);

    // Another program uses the port meanwhile: nothing is deleted, and another port is used.
    const { pid, url } = (await lab.status()).services[0]!;
    process.kill(pid, "SIGKILL");
    const port = Number(new URL(url).port);
    expect(await becomesFree(port)).toBe(true);
    const other = Bun.serve({
      port,
      hostname: "127.0.0.1",
      fetch: () => new Response(),
    });
    const taken = await lab.run(["up"]);
    expect(taken).toMatchObject({
      code: 1,
      errors: expect.stringContaining(`port ${port} is in use`),
    });
    await other.stop(true);

    // A paused service counts as running.
    const inventory = (await pidsOf(lab))[1]!;
    process.kill(inventory, "SIGSTOP");
    const paused = await lab.run(["up"]);
    expect(paused).toMatchObject({
      code: 1,
      errors: expect.stringContaining("inventory-service is paused"),
    });
    process.kill(inventory, "SIGCONT");
    expect((await lab.run(["up"])).errors).toBe(
      "sync: started again on its database: order-service\n",
    );
    expect(await countOrders(lab)).toBe(1);

    // A stopping service doesn't count as running: an order in progress delays its end.
    const [order, stock] = (await lab.status()).services;
    await setFaults(stock!, { delay_ms: 4_000 });
    const held = placeOrder(lab);
    await eventually("the order is stored", async () => (await countOrders(lab)) === 2);
    process.kill(order!.pid, "SIGTERM");
    expect(await lab.run(["up"])).toMatchObject({
      code: 0,
      errors: "sync: started again on its database: order-service\n",
    });
    await held;

    const fresh = await lab.run(["up", "sync", "--fresh"]);
    expect(fresh).toMatchObject({
      code: 0,
      errors: expect.stringContaining(`deletes ${lab.folder}/.lab/up/sync-rest`),
    });
    expect(await countOrders(lab)).toBe(0);

    await placeOrder(lab);
    await lab.run(["down"]);
    expect((await lab.run(["up", "sync"])).errors).toContain(
      "starts with empty databases; deletes",
    );
    expect(await countOrders(lab)).toBe(0);
  },
  TIMEOUT_MS,
);

test(
  "what is brought back listens where it did; a shell that names another place, or a database of no bytes, is said",
  async () => {
    await using lab = await ownLab();
    expect(await lab.run(["up", "sync"], { LISTEN_HOST: "localhost" })).toMatchObject({ code: 0 });
    const { log, pid, url } = (await lab.status()).services[0]!;
    expect(url).toStartWith("http://localhost:");
    process.kill(pid, "SIGKILL");
    expect(await lab.run(["up"], { LISTEN_HOST: "127.0.0.1" })).toMatchObject({
      code: 1,
      errors: expect.stringContaining("sync was started with localhost"),
    });
    expect(await lab.run(["up"])).toMatchObject({ code: 0 });
    const ready = (await Bun.file(log).text()).split("\n").filter((line) => /"ready"/.test(line));
    expect(ready.map((line) => (JSON.parse(line) as { url: string }).url)).toEqual([url, url]);

    const again = (await lab.status()).services[0]!;
    process.kill(again.pid, "SIGKILL");
    await Bun.write(again.database, "");
    expect((await lab.run(["up"])).errors).toContain("order-service begins with an empty one");
  },
  TIMEOUT_MS,
);

test(
  "one port for two services is refused; several ups at once start one set, and down leaves nothing",
  async () => {
    await using lab = await ownLab();
    const twins = await lab.run(["up", "sync"], { ORDER_PORT: "20001", INVENTORY_PORT: "20001" });
    expect(twins).toMatchObject({ code: 1, errors: expect.stringContaining("port 20001") });

    const ups = await Promise.all([1, 2, 3].map(() => lab.run(["up", "sync"])));
    expect(ups.map(({ code }) => code)).toEqual([0, 0, 0]);
    const pids = ups.flatMap(({ output }) =>
      [...output.matchAll(/pid (\d+)/g)].map(([, pid]) => Number(pid)),
    );
    expect(new Set(pids).size).toBe(3);
    expect(
      ups.filter(({ errors }) => errors.includes("waiting for scripts/lab up sync")).length,
    ).toBeGreaterThan(0);

    const downs = await Promise.all([1, 2].map(() => lab.run(["down"])));
    expect(downs.map(({ code }) => code)).toEqual([0, 0]);
    expect(pids.filter(isAlive)).toEqual([]);
  },
  TIMEOUT_MS,
);

test(
  "Ctrl-C under `bun run sync:up` stops the services and exits with 0; the data stay, after SIGKILL of the lab too",
  async () => {
    await using lab = await ownLab();
    for (const signal of ["SIGKILL", "SIGINT"] as const) {
      const terminal = lab.spawn(["run", "sync:up"]);
      let output = "";
      let pids: number[] = [];
      for await (const bytes of terminal.stdout) {
        output += Buffer.from(bytes).toString();
        if (pids.length > 0 || !output.includes("logs follow")) continue;
        pids = await pidsOf(lab);
        await placeOrder(lab);
        // As a terminal does: to bun, which forwards it, and to the lab.
        process.kill(-terminal.pid, signal);
      }
      const code = await terminal.exited;
      expect(pids).toHaveLength(3);
      await eventually("the services end", () => !pids.some(isAlive));
      if (signal === "SIGKILL") continue;
      expect(code).toBe(0);
      expect(output.match(/"event":"stopped"/g)).toHaveLength(3);
    }
    expect((await lab.run(["up"])).errors).toContain("started again on its database");
    expect(await countOrders(lab)).toBe(2);
  },
  TIMEOUT_MS,
);
