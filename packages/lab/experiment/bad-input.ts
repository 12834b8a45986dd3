import { count } from "../probes/databases.ts";
import { afterAll, beforeAll, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { complaint, fuzzComplaint, type InputTable } from "./bad-requests.ts";
import type { Model } from "@lab/evidence/evidence";
import { labFolder } from "@lab/evidence/folders";
import { removeLeftovers } from "../probes/leftovers.ts";
import { placeOrder } from "../load/load.ts";
import { PROMISES } from "@lab/evidence/promises";
import { factsOf } from "../brokers/model-facts.ts";
import { type Campus, startModel } from "../services/processes.ts";
import { sharedBroker } from "../brokers/shared-brokers.ts";

const BROKER_TIMEOUT_MS = 600_000;

/**
 * Registers the tests of one model's input. Question: can any request get a 5xx, or leave a lost or
 * half-done order? Method: a table of bad requests and generated JSON, sent to the real services.
 * Disproof: another answer than the table's, one that isn't problem+json, or a row that no answer
 * named.
 */
export function testBadInput(model: Model, { bad, routes }: InputTable): void {
  const { answer } = PROMISES[model];
  const needed = factsOf(model).broker?.name;
  const id = crypto.randomUUID().slice(0, 6);
  const folder = join(labFolder, "data", `${model}-bad-input-${id}`);
  const namespace = `t${id}-`;
  let campus: Campus;

  beforeAll(async () => {
    campus = await startModel(model, {
      folder,
      namespace,
      broker: needed && (await sharedBroker(needed)),
    });
  }, BROKER_TIMEOUT_MS);

  afterAll(async () => {
    await campus[Symbol.asyncDispose]();
    rmSync(folder, { recursive: true });
    if (needed) await removeLeftovers(await sharedBroker(needed), namespace);
  }, BROKER_TIMEOUT_MS);

  test("every bad request is refused as the table says, and leaves nothing", async () => {
    const complaints: string[] = [];
    for (const role of ["order", "inventory", "downstream"] as const) {
      const { name, url } = campus[role];
      for (const request of bad[role]) {
        const found = await complaint(url, request);
        if (found) complaints.push(`${name}: ${found}`);
      }
    }
    expect(complaints).toEqual([]);
    expect(count(campus.order, "SELECT count(*) FROM orders")).toBe(0);
    expect(count(campus.inventory, "SELECT count(*) FROM reservations")).toBe(0);
  });

  test("generated JSON never gets a 5xx, and every order is acknowledged", async () => {
    let accepted = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...routes),
        nearlyAnOrder(),
        async ({ service, path }, body) => {
          const answer = await fuzzComplaint(campus[service].url, path, body);
          if (answer.order_id) accepted += 1;
          expect(answer.complaint).toBe(undefined);
        },
      ),
      { numRuns: 500, endOnFailure: true },
    );
    expect(count(campus.order, "SELECT count(*) FROM orders")).toBe(accepted);
  });

  test("an idempotency key gives the first answer again, or 422 for another body", async () => {
    const headers = { "idempotency-key": "the-same" };
    const one = { user_id: "u1", items: [{ sku: "taco", qty: 1 }] };
    const before = count(campus.order, "SELECT count(*) FROM orders");
    const first = await placeOrder(campus.order.url, one, { headers });
    const again = await placeOrder(campus.order.url, one, { headers });
    const other = await placeOrder(campus.order.url, { ...one, user_id: "u2" }, { headers });
    expect(again.order_id).toBe(first.order_id as string);
    expect([first.status, again.status, other.status, other.code]).toEqual([
      answer,
      answer,
      422,
      "idempotency_key_reused",
    ]);
    expect(count(campus.order, "SELECT count(*) FROM orders")).toBe(before + 1);
  });
}

/** JSON with the properties of an order, with valid and invalid values. */
export function nearlyAnOrder() {
  const text = fc.oneof(
    fc.string({ maxLength: 80 }),
    fc.constantFrom("main", "k01", "burger", "u1", crypto.randomUUID()),
  );
  const item = fc.record(
    { sku: text, qty: fc.oneof(fc.integer(), fc.double(), fc.string()) },
    { requiredKeys: [] },
  );
  const goodItem = fc.record({
    sku: fc.constantFrom("burger", "taco"),
    qty: fc.integer({ min: 1, max: 3 }),
  });
  return fc.oneof(
    fc.jsonValue(),
    fc.record({ user_id: text, items: fc.tuple(goodItem) }),
    fc.record(
      {
        order_id: fc.oneof(text, fc.uuid()),
        user_id: fc.oneof(text, fc.jsonValue()),
        kitchen: text,
        items: fc.oneof(fc.array(item, { maxLength: 25 }), fc.jsonValue()),
      },
      { requiredKeys: [] },
    ),
  );
}
