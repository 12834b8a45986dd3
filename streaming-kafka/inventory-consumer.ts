/**
 * Inventory of the streaming model.
 *
 * Hears: OrderPlaced, from `order-events`.
 * Says:  InventoryReserved or InventoryFailed, to `inventory-events`; records
 *        that can never be processed, to `order-events.dead`.
 * Keeps: stock, reservations, and the ledger of processed events with the
 *        answer that each was given.
 *
 * Notice: dead for a minute, its lag grows and then drains; the log keeps all.
 * Killed anywhere in between, it reads again from its last committed offset,
 * and the ledger makes "again" harmless.
 */
import { encodeEvent, type OrderPlaced } from "@lab/contracts/events";
import { Reservation, StockRow } from "@lab/contracts/order";
import { serviceKnobs } from "@lab/runtime/env";
import { createFaults, faultKnobs, type Faults, InjectedFailure } from "@lab/runtime/faults";
import { createApp } from "@lab/runtime/http/app";
import { createLog, type Log, reasonOf } from "@lab/runtime/log";
import { OrderParams } from "@lab/runtime/http/requests";
import { listen, runService, type Service } from "@lab/runtime/service";
import { Inventory, INVENTORY_SCHEMA } from "@lab/store/inventory";
import { Ledger, LEDGER_SCHEMA, type Processed } from "@lab/store/ledger";
import { Store } from "@lab/store/store";
import { OPENING_STOCK } from "@lab/workflow/menu";
import { answerTo } from "@lab/workflow/reservation";
import { type Static, Type } from "@sinclair/typebox";
import type { Batch, EachBatchPayload, KafkaMessage, Message } from "kafkajs";
import { deadLetter, ONE_BY_ONE_SCHEMA } from "./kafka/one-by-one.ts";
import { slicesOf } from "./kafka/partitions.ts";
import { recordOf } from "./kafka/spans.ts";
import { Stream } from "./kafka/stream.ts";
import {
  KafkaBrokers,
  MAX_ATTEMPTS,
  Namespace,
  PARTITIONS,
  SEND_BATCH,
  type Topics,
  topics,
} from "./topics.ts";

export const Config = Type.Object({
  ...serviceKnobs({ port: 8022, database: ".lab/data/streaming-kafka/inventory.sqlite" }),
  ...faultKnobs("inventory"),
  kafkaBrokers: KafkaBrokers,
  labNamespace: Namespace,
  /** Units of everything in every kitchen, when the database is new. */
  openingStock: Type.Integer({ minimum: 0, default: OPENING_STOCK }),
});

const RETRY_PAUSE_MS = 100;

export async function startInventory(config: Static<typeof Config>): Promise<Service> {
  const log = createLog("inventory-consumer", config.logLevel);
  const faults = createFaults("inventory", config);
  const schema = [...INVENTORY_SCHEMA, ...LEDGER_SCHEMA, ...ONE_BY_ONE_SCHEMA];
  const store = new Store(config.database, schema);
  const inventory = new Inventory(store.db);
  const ledger = new Ledger(store.db, "inventory-consumer", log);
  await store.commit(() => inventory.open(config.openingStock));

  const names = topics(config.labNamespace);
  const stream = new Stream(config, "inventory-consumer", names.inventoryGroup, {
    log,
    names,
    store,
  });
  const stock = { faults, inventory, ledger, log, names, store, stream };

  const app = createApp("inventory-consumer", {
    model: "streaming-kafka",
    faults,
    log,
    health: () => ({
      needs: { database: store.healthy(), broker: stream.isMember() },
      owed: { standing_records: stream.troubles.stalled },
      waits_for: stream.waitsFor,
      problems: [...store.problems(), ...stream.troubles.problems],
    }),
  })
    .get("/stock", ({ query }) => inventory.stock(query.kitchen), {
      query: Type.Object({ kitchen: Type.Optional(Type.String()) }),
      response: { 200: Type.Array(StockRow) },
    })
    .get("/reservations/:order_id", ({ params }) => inventory.reservation(params.order_id), {
      params: OrderParams,
      response: { 200: Reservation },
    });

  stream.start([names.orderEvents], () =>
    stream.run((payload) => onOrderPlaced(stock, payload), {
      partitionsConsumedConcurrently: PARTITIONS,
    }),
  );

  return {
    name: "inventory-consumer",
    url: listen(app, config),
    database: config.database,
    faults,
    stop: [
      // The consumer is the intake here: it is stopped first.
      ...stream.stop,
      ["http-stopped", () => app.stop()],
      ["store-closed", () => store.close()],
    ],
  };
}

/** What the handlers share. */
interface Stock {
  faults: Faults;
  inventory: Inventory;
  ledger: Ledger;
  log: Log;
  names: Topics;
  store: Store;
  stream: Stream;
}

/** 2. Reserve stock: one transaction for the slice, then the answers, then the offset. */
async function onOrderPlaced(stock: Stock, payload: EachBatchPayload): Promise<void> {
  const { faults, ledger, names, store, stream } = stock;
  const { consumer, producer } = stream;
  const { batch, heartbeat, resolveOffset } = payload;
  for (const { slice, next } of slicesOf(payload, () => faults.batchLimit(SEND_BATCH))) {
    const valid: { record: KafkaMessage; event: OrderPlaced }[] = [];
    const dead: Message[] = [];
    for (const record of slice) {
      const read = await readRecord(stock, batch, record, heartbeat);
      if (read.kind === "event") valid.push({ record, event: read.event });
      else dead.push(refuse(stock, batch, record, read));
    }
    const processed = await store.commit(() =>
      valid.map(({ event }) => ledger.once(event, () => reserve(stock, event))),
    );
    const answers: Message[] = [];
    for (const [n, { record, event }] of valid.entries()) {
      const result = processed[n]!;
      if (result.kind === "done") {
        answers.push(recordOf(event.data.kitchen, result.outcome, event));
      } else dead.push(refuse(stock, batch, record, { ...result, reason: "id_reused" }));
    }
    await producer.send({ topic: names.inventoryEvents, acks: -1, messages: answers });
    if (dead.length > 0) {
      await producer.send({ topic: names.deadLetters, acks: -1, messages: dead });
    }
    resolveOffset(`${next - 1}`);
    await consumer.commitOffsets([
      { topic: batch.topic, partition: batch.partition, offset: `${next}` },
    ]);
    await heartbeat();
  }
}

/** The event of a record; `invalid` when it can never be one, or has failed too often. */
async function readRecord(
  { faults, log, stream }: Stock,
  batch: Batch,
  record: KafkaMessage,
  heartbeat: () => Promise<void>,
) {
  const decoded = stream.read(batch, record, ["OrderPlaced"]);
  if (decoded.kind === "invalid") return decoded;
  for (let attempt = 1; ; attempt++) {
    try {
      await faults.strike(heartbeat);
      return decoded;
    } catch (error) {
      // A failed heartbeat is not a failure of the record.
      if (!(error instanceof InjectedFailure)) throw error;
      const detail = reasonOf(error);
      log.warn("message_retried", { order_id: decoded.event.subject, attempt, reason: detail });
      if (attempt === MAX_ATTEMPTS) {
        return {
          kind: "invalid",
          reason: "failed_too_often",
          detail,
        } as const;
      }
      await Bun.sleep(RETRY_PAUSE_MS * 2 ** (attempt - 1));
      await heartbeat();
    }
  }
}

/** The dead letter of a record. */
function refuse(
  { log }: Stock,
  batch: Batch,
  record: KafkaMessage,
  why: { reason: string; detail: string },
): Message {
  const { partition } = batch;
  log.warn("message_refused", { partition, offset: record.offset, ...why });
  return deadLetter(batch, record, why);
}

/** Decides, and returns the answer as it is stored and published. */
function reserve({ inventory, log }: Stock, event: OrderPlaced): Processed {
  const { order_id, user_id, kitchen, items } = event.data;
  const decision = inventory.reserve(order_id, kitchen, items, user_id);
  if (decision.kind === "reused") return decision;
  const answer = answerTo(event, "inventory-consumer", decision);
  log.debug("stock_decided", { order_id: answer.subject, says: answer.type });
  return { kind: "done", outcome: encodeEvent(answer) };
}

if (import.meta.main) await runService(startInventory, Config);
