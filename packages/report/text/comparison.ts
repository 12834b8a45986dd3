// oxlint-disable typescript/restrict-template-expressions -- a Figure is made for templates: its text has the unit
import { DIFFERENCES, PROMISES } from "@lab/evidence/promises";
import type { ShownTable } from "./document.ts";
import type { Figures } from "./figure-reader.ts";

/** The promises in which the models differ: the proof "promises" checks this table. */
export function promisesTable(): ShownTable {
  const promises = Object.entries(PROMISES);
  return {
    title: "What the models promise",
    columns: ["", ...promises.map(([model]) => `[${model}](${model}/README.md)`)].map((name) => ({
      name,
      numeric: false,
    })),
    rows: Object.values(DIFFERENCES).map(({ says, title }) => [
      title,
      ...promises.map(([, its]) => says(its)),
    ]),
  };
}

/** D5: the three models beside each other, each cell around what was measured. */
export function comparisonTable(figures: Figures): ShownTable {
  return {
    title: "The three models compared",
    columns: ["", "Synchronous REST", "RabbitMQ", "Kafka"].map((name) => ({
      name,
      numeric: false,
    })),
    rows: [
      [
        "Coupling",
        "In time: all three services have to be up and quick at the moment of the order. The caller knows its neighbours' addresses and calls them by name.",
        "In the contract: sender and receiver share an event's schema and the broker. A queue belongs to its consumer; each message has one reader.",
        "In the contract and the key: many groups read the same log, each at its own speed, and a new one needs nobody's consent. The key decides what stays in order.",
      ],
      [
        "The client waits (median)",
        figures.tell(
          ["baseline-latency/open_loop_p50_ms", "baseline-latency/open_loop_rate_per_s"],
          (p50, rate) => `${p50} at ${rate}, and then the order is _confirmed_`,
        ),
        figures.tell(
          [
            "backlog-drain/answer_before_p50_ms",
            "backlog-drain/completion_p50_ms",
            "backlog-drain/offered_rate_per_s",
          ],
          (answer, end, rate) =>
            `${answer} for the 202 at ${rate}; the outcome ${end} after the order was stored`,
        ),
        figures.tell(
          ["ten-thousand-events/answer_p50_ms", "ten-thousand-events/completion_p50_ms"],
          (answer, end) => `${answer} for the 202; the outcome ${end} after the order was stored`,
        ),
      ],
      [
        "A neighbour is slow or dead",
        figures.tell(
          [
            "slow-inventory/slow_p50_ms",
            "slow-inventory/delay_ms",
            "dead-inventory/unreachable",
            "dead-inventory/orders",
          ],
          (slow, delay, refused, orders) =>
            `The client feels it: ${slow} for a delay of ${delay}; Inventory dead, ${refused} of ${orders} orders refused`,
        ),
        figures.tell(
          [
            "backlog-drain/outage_s",
            "backlog-drain/accepted_during_outage",
            "backlog-drain/answer_p50_ms",
            "backlog-drain/drain_s",
          ],
          (outage, accepted, answer, drain) =>
            `The queue feels it: Inventory dead for ${outage}, ${accepted} orders accepted at ${answer}, backlog gone in ${drain}`,
        ),
        figures.tell(
          ["consumer-lag/peak_lag", "consumer-lag/drain_s", "consumer-lag/final_lag"],
          (peak, drain, final) =>
            `The lag feels it: up to ${peak} records behind, ${final} after ${drain}`,
        ),
      ],
      [
        "Failure handling",
        figures.tell(
          ["hanging-inventory/timed_out", "hanging-inventory/held_after_units"],
          (unknown, held) =>
            `At once and by the caller: status codes, timeouts, a release for what is unknown (${unknown} timeouts, ${held} still held)`,
        ),
        figures.tell(
          [
            "poison-message/dead_lettered",
            "backlog-drain/lost",
            "backlog-drain/doubled",
            "broker-down/lost",
            "broker-down/doubled",
          ],
          (dead, lost, doubled, brokerLost, brokerDoubled) =>
            `Later and by the broker: redelivery, delivery limit, dead-letter queue (${dead} dead letters); ${lost} lost and ${doubled} doubled with Inventory killed, ${brokerLost} and ${brokerDoubled} with RabbitMQ killed`,
        ),
        figures.tell(
          ["consumer-lag/lost", "consumer-lag/doubled"],
          (lost, doubled) =>
            `Later and by the consumer: it stays at its offset until it succeeds, or writes the record to a dead topic; a bad record stops its partition unless told otherwise; ${lost} lost, ${doubled} doubled`,
        ),
      ],
      [
        "Replay",
        "None: a call leaves nothing behind to be played again, only what the services stored themselves.",
        figures.tell(
          ["poison-message/replayed", "poison-message/replay_effects"],
          (replayed, effects) =>
            `Of dead letters only (${replayed} put back, ${effects} effects): an acknowledged message is gone.`,
        ),
        figures.tell(
          [
            "replay/events_replayed",
            "replay/replay_s",
            "replay/digest_before",
            "replay/digest_after",
          ],
          (events, duration, before, after) =>
            `Of everything that is retained: ${events} records in ${duration}, digests ${before.value === after.value ? "equal" : "**not equal**"}`,
        ),
      ],
      [
        "Scalability",
        figures.tell(
          ["baseline-latency/connections_20_rate_per_s", "slow-inventory/slow_rate_per_s"],
          (rate, slow) =>
            `${rate} at 20 connections, and ${slow} when Inventory is slow. More copies behind a load balancer; bounded by the slowest link`,
        ),
        figures.tell(
          ["backlog-drain/drain_rate_per_s"],
          (rate) =>
            `${rate} drained by one consumer. More consumers on the same queue, at the price of order`,
        ),
        figures.tell(
          [
            "ten-thousand-events/produce_rate_per_s",
            "ten-thousand-events/process_rate_per_s",
            "ten-thousand-events/partitions",
          ],
          (produced, processed, partitions) =>
            `${produced} produced, ${processed} through Inventory. As many consumers as partitions (${partitions} here), order kept for each key`,
        ),
      ],
      [
        "What it costs",
        "Nothing to run besides the services; every caller needs timeouts, and an answer to _unknown_.",
        "A broker to run; outbox and ledger; the client has to ask again or be told.",
        "A broker that wants partitions, keys and retention planned; outbox, ledger, and patience with rebalancing.",
      ],
      [
        "Use it when",
        "the client can't go on without the answer, the chain is short, and its links are as available as you need to be",
        "work must not be lost but may be done later, each piece by one worker, with retries and dead letters for each message",
        "what happened is itself of value: several readers, high rates, order for each key, and computing it again",
      ],
    ],
    note: "Each figure is the median or the count of the experiment that it comes from, under that experiment's load; the loads differ between the models, so compare magnitudes, not milliseconds.",
  };
}
