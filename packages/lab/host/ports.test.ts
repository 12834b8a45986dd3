import { expect, test } from "bun:test";
import { join } from "node:path";
import { freePorts, isFree } from "./ports.ts";

test("free ports are free, different, and out of the way of outgoing connections", async () => {
  const ports = await freePorts(20);
  expect(new Set(ports).size).toBe(20);
  expect(ports.every((port) => port < 32_768)).toBe(true);
  expect(await Promise.all(ports.map(isFree))).toEqual(ports.map(() => true));
});

test("no port is handed out twice: whoever has it may be down for a moment", async () => {
  const ports = [await freePorts(300), await freePorts(300), await freePorts(300)].flat();
  expect(new Set(ports).size).toBe(900);
});

test("no other process of a lab is given one of them", async () => {
  const ports = await freePorts(500);
  const script = `import { freePorts } from ${JSON.stringify(join(import.meta.dir, "ports.ts"))};
    console.log(JSON.stringify(await freePorts(500)));`;
  const other = Bun.spawn([process.execPath, "-e", script]);
  const others = JSON.parse(await other.stdout.text()) as number[];
  expect(others).toHaveLength(500);
  expect(ports.filter((port) => others.includes(port))).toEqual([]);
});

test("a port with a listener isn't free", async () => {
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => new Response(),
  });
  expect(await isFree(server.port!)).toBe(false);
});
