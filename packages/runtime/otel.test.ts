// When OpenTelemetry's libraries are loaded, and that a receiver can't keep a service alive. What they
// export is tested with every model, in its tests/traces.test.ts.
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const TIMEOUT_MS = 60_000;

const folder = mkdtempSync(join(tmpdir(), "otel-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Says on standard error which of the libraries a process loads. */
const preload = join(folder, "preload.ts");
await Bun.write(
  preload,
  `Bun.plugin({
    name: "watch",
    setup(build) {
      build.onLoad({ filter: /@opentelemetry\\/sdk-trace\\/dist\\/index/ }, async ({ path }) => {
        console.error("loaded");
        return { contents: await Bun.file(path).text(), loader: "js" };
      });
    },
  });`,
);

/** Runs Inventory of the synchronous model, which has one request, until it has stopped. */
async function run(env: Record<string, string>) {
  const child = Bun.spawn(
    [
      process.execPath,
      "--no-env-file",
      "--preload",
      preload,
      join(import.meta.dir, "../../sync-rest/inventory-service.ts"),
    ],
    {
      env: { PORT: "0", DATABASE: join(folder, `${crypto.randomUUID()}.sqlite`), ...env },
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  let output = "";
  for await (const bytes of child.stdout) {
    const wasReady = output.includes('"ready"');
    output += new TextDecoder().decode(bytes);
    if (wasReady || !output.includes('"ready"')) continue;
    const [, url] = /"url":"([^"]+)"/.exec(output)!;
    const { status } = await fetch(`${url}/release`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ order_id: crypto.randomUUID() }),
    });
    expect(status).toBe(200);
    child.kill("SIGTERM");
  }
  return { code: await child.exited, errors: await child.stderr.text(), output };
}

test(
  "without a receiver nothing of OpenTelemetry is loaded",
  async () => {
    expect(await run({})).toMatchObject({ code: 0, errors: "" });
  },
  TIMEOUT_MS,
);

test(
  "a receiver that never answers, or that nobody finds, keeps no service from its stop",
  async () => {
    using silent = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    const receivers = [`http://127.0.0.1:${silent.port}`, "http://127.0.0.1:1"];
    const runs = receivers.map((url) => run({ OTEL_EXPORTER_OTLP_ENDPOINT: url }));
    for (const { code, errors, output } of await Promise.all(runs)) {
      expect([code, errors, output]).toEqual([0, "loaded\n", expect.stringContaining('"stopped"')]);
    }
  },
  TIMEOUT_MS,
);

test(
  "an address that is none is a bad environment",
  async () => {
    const { code, errors } = await run({ OTEL_EXPORTER_OTLP_ENDPOINT: "127.0.0.1:4318" });
    expect([code, errors]).toEqual([
      2,
      expect.stringContaining('OTEL_EXPORTER_OTLP_ENDPOINT="127.0.0.1:4318": expected http://'),
    ]);
  },
  TIMEOUT_MS,
);
