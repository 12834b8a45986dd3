import { expect, test } from "bun:test";
import { healthAnswer, owed } from "./health.ts";
import { TransientError } from "./transient.ts";

test("a need that isn't met and a problem take a service down; what is owed does not", () => {
  const waiting = { outbox: owed(3, Date.now() - 2_000) };
  expect(healthAnswer("order", () => ({ needs: { database: true }, owed: waiting }))).toEqual({
    code: 200,
    body: {
      service: "order",
      status: "up",
      database: true,
      owed: { outbox: { count: 3, oldest_s: 2 } },
      waits_for: [],
      problems: [],
    },
  });
  expect(healthAnswer("order", () => ({ needs: { database: false } })).code).toBe(503);
  expect(healthAnswer("order", () => ({ needs: {}, waits_for: ["RabbitMQ"] })).code).toBe(503);
  expect(healthAnswer("order", () => ({ needs: {}, problems: ["no such queue"] })).code).toBe(503);
});

test("a database that can't be read is a problem, and any other error is a bug", () => {
  const failing = (error: Error) => () =>
    healthAnswer("order", () => {
      throw error;
    });
  expect(failing(new TransientError("it is gone"))()).toEqual({
    code: 503,
    body: {
      service: "order",
      status: "down",
      database: false,
      owed: {},
      waits_for: [],
      problems: ["Error: it is gone"],
    },
  });
  expect(failing(new TypeError("mine"))).toThrow("mine");
});

test("the age of the oldest is never negative, and 0 where nothing waits", () => {
  expect(owed(1, new Date(Date.now() + 60_000).toISOString())).toEqual({ count: 1, oldest_s: 0 });
  expect(owed(0, null)).toEqual({ count: 0, oldest_s: 0 });
});
