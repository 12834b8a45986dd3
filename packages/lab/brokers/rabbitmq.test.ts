import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { moveManagement } from "./rabbitmq.ts";

const folder = mkdtempSync(join(tmpdir(), "rabbitmq-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("a management page whose port somebody else has gets another one", async () => {
  using other = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  const taken = other.port;
  const file = join(folder, "rabbitmq.conf");
  writeFileSync(file, `management.tcp.port = ${taken}\ndefault_user = lab\n`);
  const plan = {
    name: "rabbitmq" as const,
    folder,
    address: "amqp://127.0.0.1:1",
    managementUrl: `http://127.0.0.1:${taken}`,
    ports: [1, taken],
    command: [],
    env: {},
    versions: {},
  };
  expect(await moveManagement(plan)).toBe(true);
  const [, port] = plan.ports;
  expect(port).not.toBe(taken);
  expect(plan.managementUrl).toBe(`http://127.0.0.1:${port}`);
  expect(readFileSync(file, "utf8")).toBe(`management.tcp.port = ${port}\ndefault_user = lab\n`);
  expect(await moveManagement(plan)).toBe(false);
});
