// The tour's experiments, short enough for a class, on the system that the page shows.
import type { Model } from "@lab/evidence/evidence";
import { count, read } from "@lab/lab/probes/databases";
import { eventually } from "@lab/lab/host/waiting";
import { fetchReplay } from "@lab/lab/probes/replay";
import type { Action } from "../contract/commands.ts";
import type { TourStep } from "../contract/tour.ts";
import type { Watched } from "./watched.ts";

const TIMEOUT_MS = 90_000;
const SLOWER_MS = 2_000;
const ORDERS = 30;
const BURST = 300;

/** What a step works with. */
export interface Stage {
  models: readonly Watched[];
  act(action: Action): Promise<string>;
}

interface Found {
  right: 0 | 1 | 2;
  says: string;
  figure: [name: string, value: number];
}

export interface Experiment extends Pick<
  TourStep,
  "answers" | "id" | "method" | "question" | "requirement" | "title"
> {
  /** The model whose evidence it is. */
  model: Model;
  /** All models that have to be there. */
  needs: Model[];
  run(stage: Stage): Promise<Found>;
}

const ALL: Model[] = ["sync-rest", "async-rabbitmq", "streaming-kafka"];

export const EXPERIMENTS: Experiment[] = [
  {
    id: "slow",
    model: "sync-rest",
    needs: ALL,
    requirement: "A3",
    title: "Inventory becomes slow",
    method: "Each Inventory takes 2 s longer; the same order goes to all three.",
    question: "Who waits 2 s longer for the answer?",
    answers: ["The customers of all three", "The customer of REST alone", "Nobody"],
    async run({ act, models }) {
      for (const one of models) await act(faultsOf(one, { delay_ms: SLOWER_MS }));
      const waits = await Promise.all(models.map(answerMs));
      const slow = waits.filter((ms) => ms >= SLOWER_MS);
      return {
        right: slow.length === 0 ? 2 : slow.length === models.length ? 0 : 1,
        says: models.map((one, n) => `${one.model}: ${Math.round(waits[n]!)} ms`).join(", "),
        figure: ["rest_answer_ms", Math.round(waits[0]!)],
      };
    },
  },
  {
    id: "dead",
    model: "sync-rest",
    needs: ALL,
    requirement: "A4",
    title: "Inventory is dead",
    method: "Each Inventory is killed; the same order goes to all three.",
    question: "What are the customers told?",
    answers: ["No, by all three", "No by REST, a receipt by the others", "Yes, by all three"],
    async run({ act, models }) {
      for (const one of models)
        await act({ do: "kill", model: one.model, service: one.facts.services[1] });
      const told = await Promise.all(models.map(place));
      const refused = told.filter(({ kind }) => kind !== "ok").length;
      return {
        right: refused === models.length ? 0 : refused === 0 ? 2 : 1,
        says: models.map((one, n) => `${one.model}: ${told[n]!.status}`).join(", "),
        figure: ["refused", refused],
      };
    },
  },
  {
    id: "backlog",
    model: "async-rabbitmq",
    needs: ["async-rabbitmq"],
    requirement: "B4",
    title: "Orders wait in a queue",
    method: `Inventory is killed, ${ORDERS} orders come, Inventory comes back.`,
    question: "How many of the orders are lost?",
    answers: ["All of them", "Those that came first", "None"],
    async run({ act, models }) {
      const [one] = models as [Watched];
      await act({ do: "kill", model: one.model, service: one.facts.services[1] });
      const told = await Promise.all(Array.from({ length: ORDERS }, () => place(one)));
      await act({ do: "heal" });
      const ids = told.flatMap(({ order_id }) => order_id ?? []);
      const lost = await notEnded(one, ids);
      return {
        right: lost === 0 ? 2 : lost === ORDERS ? 0 : 1,
        says: `${ids.length} orders were promised, ${ids.length - lost} have ended`,
        figure: ["lost", lost],
      };
    },
  },
  {
    id: "twice",
    model: "async-rabbitmq",
    needs: ["async-rabbitmq"],
    requirement: "B5",
    title: "The same message twice",
    method: "An order is placed and ends; then its OrderPlaced is sent again.",
    question: "How often is its stock taken?",
    answers: ["Not at all", "Once", "Twice"],
    async run({ act, models }) {
      const [one] = models as [Watched];
      const inventory = await one.service(one.facts.services[1]);
      const { order_id } = await place(one);
      await notEnded(one, [order_id!]);
      // Other orders take as much from the stock as they reserve: only what is taken twice changes
      // the sum.
      const all = count(inventory, STOCK_AND_RESERVED);
      const taken = () => QTY + all - count(inventory, STOCK_AND_RESERVED);
      const repeats = () =>
        Bun.file(inventory.log)
          .text()
          .then((log) => log.split('"message_repeated"').length);
      const known = await repeats();
      await act({ do: "again", model: one.model });
      // Either the ledger knows the message, or the stock falls again.
      await eventually("it was heard", async () => (await repeats()) > known || taken() > QTY, {
        timeoutMs: TIMEOUT_MS,
      });
      const units = taken();
      const times = Math.round(units / QTY);
      return {
        right: times === 0 ? 0 : times === 1 ? 1 : 2,
        says: `${units} units of an order of ${QTY}`,
        figure: ["units_taken", units],
      };
    },
  },
  {
    id: "poison",
    model: "async-rabbitmq",
    needs: ["async-rabbitmq"],
    requirement: "B6",
    title: "A message that is no order",
    method: "It is sent, and ten good orders behind it.",
    question: "What becomes of the ten?",
    answers: [
      "They wait behind it for ever",
      "Some end, some are lost",
      "All end; it alone is put aside",
    ],
    async run({ act, models }) {
      const [one] = models as [Watched];
      const deadBefore = one.deadLetters ?? 0;
      await act({ do: "poison", model: one.model });
      const told = await Promise.all(Array.from({ length: 10 }, () => place(one)));
      const lost = await notEnded(
        one,
        told.flatMap(({ order_id }) => order_id ?? []),
      );
      const dead = await eventually(
        "the dead letter is counted",
        () => (one.deadLetters ?? 0) - deadBefore || undefined,
      );
      return {
        right: lost === 10 ? 0 : lost === 0 && dead > 0 ? 2 : 1,
        says: `${10 - lost} of 10 have ended, new dead letters: ${dead}`,
        figure: ["ended", 10 - lost],
      };
    },
  },
  {
    id: "lag",
    model: "streaming-kafka",
    needs: ["streaming-kafka"],
    requirement: "C3",
    title: "A consumer slower than its producer",
    method: `Inventory takes 50 ms for each message, and ${BURST} orders come at once.`,
    question: "How far behind is Inventory at the most?",
    answers: ["Less than 10 records", "10 to 50 records", "More than 50 records"],
    async run({ act, models }) {
      const [one] = models as [Watched];
      await act(faultsOf(one, { throttle_ms: 50 }));
      const sending = one.customers.burst((await one.service(one.facts.services[0])).url, BURST);
      let most = 0;
      let sent = false;
      void sending.then(() => (sent = true));
      await eventually(
        "the lag is gone",
        () => {
          const lag = one.onTheWay ?? 0;
          most = Math.max(most, lag);
          return sent && most > 0 && lag === 0;
        },
        { timeoutMs: TIMEOUT_MS, everyMs: 100 },
      );
      return {
        right: most < 10 ? 0 : most <= 50 ? 1 : 2,
        says: `at most ${most} records behind, and 0 in the end`,
        figure: ["peak_lag", most],
      };
    },
  },
  {
    id: "replay",
    model: "streaming-kafka",
    needs: ["streaming-kafka"],
    requirement: "C4",
    title: "The metrics, computed again",
    method: "Analytics goes back to the start of the log and counts everything again.",
    question: "What are the metrics by event time then?",
    answers: ["Doubled: everything was counted twice", "Equal", "Different: time has passed"],
    async run({ act, models }) {
      const [one] = models as [Watched];
      await act({ do: "replay" });
      const { url } = await one.service(one.facts.services[2]);
      const done = await eventually(
        "the replay ends",
        async () => {
          const replay = await fetchReplay(url);
          return replay.state !== "replaying" && replay;
        },
        { timeoutMs: TIMEOUT_MS },
      );
      return {
        right: done.equal ? 1 : 2,
        says: done.equal
          ? `equal: digest ${done.digest_after?.slice(0, 12)}… both times`
          : "the digests differ",
        figure: ["orders", done.metrics.placed],
      };
    },
  },
];

function faultsOf({ facts, model }: Watched, faults: Record<string, number>): Action {
  return { do: "faults", model, service: facts.services[1], faults };
}

const QTY = 2;
const ORDER = { user_id: "tour", items: [{ sku: "salad", qty: QTY }] };

const STOCK_AND_RESERVED = `SELECT (SELECT sum(quantity) FROM stock) +
  (SELECT coalesce(sum(item.value ->> 'qty'), 0)
   FROM reservations, json_each(items) AS item WHERE state = 'reserved')`;

async function place(one: Watched) {
  return one.customers.place((await one.service(one.facts.services[0])).url, ORDER);
}

async function answerMs(one: Watched): Promise<number> {
  const startMs = performance.now();
  await place(one);
  return performance.now() - startMs;
}

/** How many of those orders don't end in time. */
async function notEnded(one: Watched, ids: readonly string[]): Promise<number> {
  const order = await one.service(one.facts.services[0]);
  const list = JSON.stringify(ids);
  const open = () =>
    ids.length -
    read<{ n: number }>(
      order,
      "SELECT count(*) AS n FROM orders WHERE order_id IN (SELECT value FROM json_each(?)) AND status IN ('failed', ?)",
      list,
      one.facts.success,
    )[0]!.n;
  await eventually("all have ended", () => open() === 0, { timeoutMs: TIMEOUT_MS }).catch(() => {});
  return open();
}
