import { models } from "@lab/evidence/experiments";
import { expect, test } from "bun:test";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { stormSchedule, TOXICS } from "./storm-schedule.ts";

const MODELS = models.map(({ model }) => model);

test("the same seed, length and model give the same storm, and another of them another", () => {
  const one = stormSchedule(7, 2, "async-rabbitmq");
  expect(stormSchedule(7, 2, "async-rabbitmq")).toEqual(one);
  expect(stormSchedule(8, 2, "async-rabbitmq")).not.toEqual(one);
  expect(stormSchedule(7, 2, "streaming-kafka")).not.toEqual(one);
  // A longer one begins as the shorter one.
  expect(stormSchedule(7, 4, "async-rabbitmq").slice(0, 5)).toEqual(one.slice(0, 5));
});

test("a target is struck by one thing at a time, and all is over before the end", () => {
  for (const model of MODELS) {
    for (let seed = 1; seed <= 20; seed += 1) {
      const strikes = stormSchedule(seed, 2, model);
      expect(strikes.length).toBeGreaterThan(10);
      const until = new Map<string, number>();
      for (const { from_s, target, to_s } of strikes) {
        expect(from_s).toBeGreaterThan(until.get(target) ?? 0);
        until.set(target, to_s);
        expect(to_s).toBeLessThan(120);
      }
    }
  }
});

test("a storm without a strike, or without an end, is refused", () => {
  expect(() => stormSchedule(1, 0.1, "sync-rest")).toThrow("try --minutes 1");
});

test("a storm of half an hour strikes every target, and with all that there is", () => {
  for (const model of MODELS) {
    const strikes = stormSchedule(1, 30, model);
    const { broker, links } = factsOf(model);
    const ofBroker = broker ? ["broker kill", "broker pause"] : [];
    const kinds = new Set(strikes.map(({ kind, target }) => `${target} ${kind}`));
    const expected = links.flatMap((link) =>
      [...Object.keys(TOXICS), "down"].map((kind) => `${link} ${kind}`),
    );
    for (const one of [...expected, ...ofBroker]) expect(kinds).toContain(one);
  }
});

test("every toxic spoils both directions", () => {
  const ways = Map.groupBy(Object.values(TOXICS).flat(), ({ type }) => type);
  for (const [type, toxics] of ways) {
    const streams = toxics.map(({ stream }) => stream ?? "").toSorted();
    expect(streams, type).toEqual(["downstream", "upstream"]);
  }
});
