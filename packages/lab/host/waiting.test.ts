import { expect, test } from "bun:test";
import { eventually, nowUs, sample, settled } from "./waiting.ts";

test("eventually gives the first answer that isn't 'not yet'", async () => {
  const answers = [undefined, null, false, 0];
  const value = await eventually("an answer", () => answers.shift(), {
    everyMs: 1,
  });
  expect({ value, left: answers }).toEqual({ value: 0, left: [] });
});

test("eventually takes a throw for 'not yet'", async () => {
  let probes = 0;
  const probe = () => {
    probes += 1;
    if (probes < 3) throw new Error("refused");
    return probes;
  };
  expect(await eventually("it works", probe, { everyMs: 1 })).toBe(3);
});

test("eventually's error has the label and what was seen last", async () => {
  const probe = () => {
    throw new TypeError("no such queue");
  };
  expect(eventually("the queue is empty", probe, { timeoutMs: 20, everyMs: 5 })).rejects.toThrow(
    "not within 20 ms: the queue is empty (last: TypeError: no such queue)",
  );
});

test("eventually doesn't wait for a probe that hangs", async () => {
  expect(eventually("it answers", () => new Promise(() => {}), { timeoutMs: 20 })).rejects.toThrow(
    "not within 20 ms: it answers (last: a probe that hung",
  );
});

test("settled gives the value that stayed", async () => {
  const value = await settled("stock", () => ({ burger: 3 }), { forMs: 10 });
  expect(value).toEqual({ burger: 3 });
});

test("settled throws when the value changes", async () => {
  let probes = 0;
  const probe = () => ({ sent: probes++ < 3 ? 1 : 2 });
  expect(settled("one confirmation", probe, { forMs: 1_000, everyMs: 1 })).rejects.toThrow(
    /did not stay for 1000 ms: one confirmation .*sent: 1/s,
  );
});

test("sample draws values over time, with a gap where the probe throws", async () => {
  let probes = 0;
  const zeroUs = nowUs() - 5_000_000;
  const sampler = sample(
    () => {
      probes += 1;
      if (probes === 2) throw new Error("broker down");
      return probes;
    },
    { everyMs: 1, zeroUs },
  );
  await eventually("some samples", () => probes > 3);
  await sampler.stop();
  const values = sampler.points.map(([, value]) => value);
  expect(values).toEqual([1, 3, ...values.slice(2)]);
  expect(values.length + sampler.missed).toBe(probes);
  expect(sampler.missed).toBe(1);
  expect(sampler.points[0]?.[0]).toBeWithin(5, 6);
});
