// A body that is too large, sent by common clients: each must read the answer.
import { afterAll, expect, spyOn, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Faults } from "../faults.ts";
import { createApp } from "./app.ts";
import { Bodies } from "./bodies.ts";
import { createLog } from "../log.ts";

const OFF = { delay_ms: 0, fail_rate: 0, hang: false, throttle_ms: 0, seed: 1 };
const SIZES = [64 * 1024 + 1, 1024 * 1024, 20 * 1024 * 1024];
const WAYS = ["length", "chunked"];
const TIMEOUT_MS = 60_000;

const app = createApp("test", {
  model: "test",
  faults: new Faults(false, OFF),
  log: createLog("test", "error"),
  health: () => ({ needs: {} }),
}).post("/order", () => "taken");
app.listen({ hostname: "127.0.0.1", port: 0 });
const url = `http://127.0.0.1:${app.server?.port}/order`;
const folder = mkdtempSync(join(tmpdir(), "bodies-"));

afterAll(async () => {
  await app.stop(true);
  rmSync(folder, { recursive: true });
});

// urllib, unlike the others, reads nothing before it has sent everything.
const PYTHON = `
import json, sys, urllib.request, urllib.error
url, sizes = sys.argv[1], json.loads(sys.argv[2])
for size in sizes:
    for way in ("length", "chunked"):
        body = b" " * size
        data = body if way == "length" else (body[n:n + 16384] for n in range(0, size, 16384))
        headers = {"content-type": "application/json"}
        try:
            urllib.request.urlopen(urllib.request.Request(url, data, headers))
        except urllib.error.HTTPError as error:
            print(json.load(error)["code"])
`;

const FETCH = `
const [url, sizes] = process.argv.slice(-2);
for (const size of JSON.parse(sizes)) {
  for (const way of ["length", "chunked"]) {
    const whole = Buffer.alloc(size, 32);
    let sent = 0;
    const pull = (controller) => {
      if (sent >= size) controller.close();
      else controller.enqueue(whole.subarray(sent, (sent += 16384)));
    };
    const body = way === "length" ? whole : new ReadableStream({ pull });
    const headers = { "content-type": "application/json" };
    const answer = await fetch(url, { method: "POST", headers, body, duplex: "half" });
    console.log((await answer.json()).code);
  }
}
`;

const everyCode = SIZES.flatMap(() => WAYS.map(() => "body_too_large"));

test.each([
  ["bun", [process.execPath, "-e", FETCH]],
  ["node", ["node", "--input-type=module", "-e", FETCH]],
  ["python3", ["python3", "-c", PYTHON]],
])(
  "%s reads the answer to every body that is too large",
  async (_, command) => {
    // Skipped where the client isn't installed.
    if (!Bun.which(command[0]!)) return;
    expect(await said([...command, url, JSON.stringify(SIZES)])).toEqual(everyCode);
  },
  TIMEOUT_MS,
);

test.each([[[]], [["-H", "expect: 100-continue"]]])(
  "so does curl %p",
  async (options) => {
    if (!Bun.which("curl")) return;
    const codes: string[] = [];
    for (const size of SIZES) {
      const file = join(folder, `${size}`);
      await Bun.write(file, " ".repeat(size));
      for (const way of WAYS) {
        const chunked = way === "chunked" ? ["-H", "transfer-encoding: chunked"] : [];
        const sent = ["-H", "content-type: application/json", "--data-binary", `@${file}`];
        const [answer] = await said(["curl", "-sS", ...chunked, ...options, ...sent, url]);
        codes.push((JSON.parse(answer ?? "") as { code: string }).code);
      }
    }
    expect(codes).toEqual(everyCode);
  },
  TIMEOUT_MS,
);

test.each(WAYS)("garbage is collected after 16 MiB of bodies, %s", async (way) => {
  using collected = spyOn(Bun, "gc");
  const bodies = new Bodies();
  for (let n = 0; n <= 256; n += 1) {
    const body = new Uint8Array(64 * 1024);
    const headers = way === "length" ? { "content-length": `${body.length}` } : {};
    expect(await bodies.read(new Request(url, { method: "POST", headers, body }))).toEqual(body);
  }
  expect(collected).toHaveBeenCalledTimes(1);
});

async function said(command: string[]): Promise<string[]> {
  await using child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  const [text, errors] = await Promise.all([child.stdout.text(), child.stderr.text()]);
  expect(errors).toBe("");
  return text.trim().split("\n");
}
