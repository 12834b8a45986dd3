import { expect, setSystemTime, spyOn, test } from "bun:test";
import { Faults } from "./faults.ts";
import { createApp } from "./http/app.ts";
import type { Log } from "./log.ts";
import {
  beginProcessing,
  beginSettling,
  beginSpan,
  endSpan,
  errorAttributes,
  inSpan,
  noteOnSpan,
} from "./trace.ts";

const TRACE = "0af7651916cd43dd8448eb211c80319c";
const PARENT = "b7ad6b7169203331";

/** A log, and its lines. */
function logOf() {
  const lines: Record<string, unknown>[] = [];
  const at = (event: string, fields: object = {}) => void lines.push({ event, ...fields });
  const log: Log = { debug: at, info: at, warn: at, error: at };
  return { lines, log };
}

/** The `traceparent` of a span under that one. */
const below = (parent?: string) =>
  beginSpan(logOf().log, parent, () => ({ kind: "internal", name: "work" }));

test.each([
  ["00", "00"],
  ["01", "01"],
  ["02", "02"],
  ["03", "03"],
  // The standard has unknown flags set to zero.
  ["ff", "03"],
])("the flags %s are passed on as %s, with a span of its own", (given, passed) => {
  const own = below(`00-${TRACE}-${PARENT}-${given}`);
  expect(own).toMatch(new RegExp(`^00-${TRACE}-(?!${PARENT})[0-9a-f]{16}-${passed}$`));
});

test("a later version is read as far as it is known", () => {
  expect(below(`01-${TRACE}-${PARENT}-01`)).toStartWith(`00-${TRACE}-`);
  expect(below(`cc-${TRACE}-${PARENT}-01-what-comes`)).toStartWith(`00-${TRACE}-`);
});

test.each([
  undefined,
  "",
  "00-xyz",
  `00-${TRACE.toUpperCase()}-${PARENT}-01`,
  `00-${"0".repeat(32)}-${PARENT}-01`,
  `00-${TRACE}-${"0".repeat(16)}-01`,
  `00-${TRACE}-${PARENT}-0`,
  `00-${TRACE}-${PARENT}-01-`,
  `00-${TRACE}-${PARENT}-01-more`,
  `01-${TRACE}-${PARENT}-01more`,
  `ff-${TRACE}-${PARENT}-01`,
])("%p begins a new trace", (parent) => {
  expect(below(parent)).toMatch(new RegExp(`^00-(?!${TRACE})[0-9a-f]{32}-[0-9a-f]{16}-0[01]$`));
});

test("of new traces twenty are sampled in any second; a caller's are as the caller says", () => {
  using clock = spyOn(performance, "now");
  const sampled = (atMs: number, parent?: string) => {
    clock.mockReturnValue(1e9 + atMs);
    const all = Array.from({ length: 100 }, () => below(parent));
    return all.filter((one) => one.endsWith("-01")).length;
  };
  expect([0, 999, 1_000, 1_500, 2_000].map((ms) => sampled(ms))).toEqual([20, 0, 20, 0, 20]);
  expect(sampled(2_001, `00-${TRACE}-${PARENT}-01`)).toBe(100);
  expect(sampled(2_002)).toBe(0);
});

test("a span is a line when it begins, and one when it ends", async () => {
  const { lines, log } = logOf();
  const parent = `00-${TRACE}-${PARENT}-01`;
  const order_id = "01900000-0000-7000-8000-000000000000";
  const attributes = { "messaging.system": "rabbitmq" };
  const describe = () =>
    ({ kind: "consumer", name: "process q", orderId: order_id, attributes }) as const;
  const span = beginSpan(log, parent, describe);
  const own = { trace_id: TRACE, span_id: span.slice(36, 52) };
  const at_us = expect.any(Number);
  const begun = { parent_id: PARENT, kind: "consumer", name: "process q", order_id, attributes };
  expect(lines).toEqual([{ event: "span_begun", ...own, ...begun, at_us }]);
  expect(Math.abs((lines[0]!["at_us"] as number) / 1_000 - Date.now())).toBeLessThan(1_000);

  noteOnSpan(span, { duplicate: true });
  endSpan(span, { settle: "ack" });
  endSpan(span, { settle: "twice" });
  noteOnSpan(span, { late: true });
  const ended = { outcome: "ok", attributes: { duplicate: true, settle: "ack" } };
  expect(lines.slice(1)).toEqual([{ event: "span_ended", ...own, ...ended, at_us }]);

  const failing = inSpan(log, parent, describe, () => Promise.reject(new RangeError("x")));
  expect(failing).rejects.toThrow("x");
  await failing.catch(() => {});
  const error = { outcome: "error", attributes: errorAttributes(new RangeError()) };
  expect(lines.at(-1)).toMatchObject({ event: "span_ended", ...error });
});

test("a message is settled in a span of its own, within that of its processing", () => {
  const { lines, log } = logOf();
  const attributes = { "messaging.operation.type": "process", "messaging.system": "rabbitmq" };
  const describe = () => ({ name: "process q", orderId: "o1", attributes }) as const;
  const processing = beginProcessing(log, `00-${TRACE}-${PARENT}-01`, false, describe);
  endSpan(beginSettling(processing), { settle: "ack" });
  endSpan(processing);
  expect(beginSettling(processing)).toBeUndefined();
  expect(lines.map(({ event, name }) => [event, name])).toEqual([
    ["span_begun", "process q"],
    ["span_begun", "settle q"],
    ["span_ended", undefined],
    ["span_ended", undefined],
  ]);
  expect(lines[1]).toMatchObject({
    kind: "client",
    parent_id: processing.slice(36, 52),
    order_id: "o1",
    attributes: { ...attributes, "messaging.operation.type": "settle" },
  });
  expect(lines[2]).toMatchObject({ attributes: { settle: "ack" } });
});

test("an order that isn't sampled is neither described nor logged", () => {
  const { lines, log } = logOf();
  const span = beginSpan(log, `00-${TRACE}-${PARENT}-00`, () => {
    throw new Error("described");
  });
  noteOnSpan(span, { duplicate: true });
  endSpan(span);
  expect(lines).toEqual([]);
});

test("spans are in the time of the machine's clock, after it was set too", () => {
  const { lines, log } = logOf();
  const begin = () => {
    endSpan(beginSpan(log, `00-${TRACE}-${PARENT}-01`, () => ({ kind: "internal", name: "x" })));
    return lines.at(-1)!["at_us"] as number;
  };
  const hourUs = 3_600_000_000;
  const before = begin();
  setSystemTime(new Date(Date.now() + hourUs / 1_000));
  const after = begin();
  setSystemTime();
  expect(Math.abs(after - before - hourUs)).toBeLessThan(1_000_000);
});

const OFF = { delay_ms: 0, fail_rate: 0, hang: false, throttle_ms: 0, seed: 1 };

test("a POST is a span that its handler finds in the header, and its answer ends it", async () => {
  const { lines, log } = logOf();
  const order_id = "01900000-0000-7000-8000-000000000000";
  const app = createApp("test", {
    model: "test",
    faults: new Faults(false, OFF),
    log,
    health: () => ({ needs: {} }),
  })
    .post("/order", ({ headers, status }) =>
      status(201, { order_id, seen: headers["traceparent"] }),
    )
    .post("/bug", () => {
      throw new TypeError("a bug");
    })
    .get("/orders", () => []);
  const call = (path: string, method = "POST") =>
    app.handle(
      new Request(`http://localhost${path}`, {
        method,
        headers: { traceparent: `00-${TRACE}-${PARENT}-01` },
      }),
    );
  const { seen } = (await (await call("/order")).json()) as { seen: string };
  await call("/orders", "GET");
  const [begun, ended, ...more] = lines;
  expect(more).toEqual([]);
  expect(begun).toMatchObject({ kind: "server", name: "POST /order", parent_id: PARENT });
  expect(seen).toBe(`00-${TRACE}-${begun!["span_id"] as string}-01`);
  expect(ended).toMatchObject({
    outcome: "ok",
    attributes: { order_id, "http.response.status_code": 201 },
  });
  await call("/bug");
  const attributes = { "http.response.status_code": 500, "error.type": "500" };
  expect(lines.at(-1)).toMatchObject({ event: "span_ended", outcome: "error", attributes });
});
