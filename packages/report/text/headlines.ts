// oxlint-disable typescript/restrict-template-expressions -- a Figure is made for templates: its text has the unit
import type { ExperimentName } from "@lab/evidence/figures";
import type { Figures } from "./figure-reader.ts";

/** What each experiment showed, in one line of measured figures: for summaries. */
export const headlines: Record<ExperimentName, (figures: Figures) => string> = {
  "baseline-latency": (figures) =>
    figures.tell(
      [
        "baseline-latency/sequential_p50_ms",
        "baseline-latency/connections_20_p50_ms",
        "baseline-latency/connections_20_rate_per_s",
      ],
      (alone, together, rate) =>
        `median ${alone} one by one, ${together} at 20 connections (${rate})`,
    ),
  "slow-inventory": (figures) =>
    figures.tell(
      ["slow-inventory/baseline_p50_ms", "slow-inventory/slow_p50_ms", "slow-inventory/delay_ms"],
      (before, slow, delay) => `median ${before} became ${slow} with ${delay} of delay`,
    ),
  "failing-inventory": (figures) =>
    figures.tell(
      [
        "failing-inventory/refused",
        "failing-inventory/orders",
        "failing-inventory/refused_expected",
      ],
      (refused, orders, expected) =>
        `${refused} of ${orders} answered 502, ${expected} by the seed`,
    ),
  "hanging-inventory": (figures) =>
    figures.tell(
      [
        "hanging-inventory/hung_p50_ms",
        "hanging-inventory/timeout_ms",
        "hanging-inventory/held_after_units",
      ],
      (hung, timeout, held) =>
        `504 after ${hung} (timeout ${timeout}); ${held} held by failed orders afterwards`,
    ),
  "dead-inventory": (figures) =>
    figures.tell(
      ["dead-inventory/unreachable", "dead-inventory/orders", "dead-inventory/unreachable_p50_ms"],
      (refused, orders, p50) => `${refused} of ${orders} answered 503, after ${p50}`,
    ),
  "dead-notification": (figures) =>
    figures.tell(
      [
        "dead-notification/accepted",
        "dead-notification/orders",
        "dead-notification/sent_after",
        "dead-notification/sent_twice",
      ],
      (accepted, orders, sent, twice) =>
        `${accepted} of ${orders} answered 201; ${sent} confirmations sent later, ${twice} twice`,
    ),
  "backlog-drain": (figures) =>
    figures.tell(
      [
        "backlog-drain/peak_depth",
        "backlog-drain/drain_s",
        "backlog-drain/drain_rate_per_s",
        "backlog-drain/lost",
        "backlog-drain/doubled",
      ],
      (peak, drain, rate, lost, doubled) =>
        `${peak} waiting at the peak, gone in ${drain} (${rate}); ${lost} lost, ${doubled} doubled`,
    ),
  "duplicate-delivery": (figures) =>
    figures.tell(
      [
        "duplicate-delivery/deliveries",
        "duplicate-delivery/orders",
        "duplicate-delivery/reservations",
      ],
      (deliveries, orders, reservations) =>
        `${deliveries} deliveries of ${orders} orders: ${reservations} reservations`,
    ),
  "poison-message": (figures) =>
    figures.tell(
      [
        "poison-message/dead_lettered",
        "poison-message/poison_messages",
        "poison-message/good_processed",
        "poison-message/good_orders",
      ],
      (dead, poison, processed, good) =>
        `${dead} of ${poison} dead-lettered; ${processed} of ${good} good orders processed`,
    ),
  "broker-down": (figures) =>
    figures.tell(
      [
        "broker-down/accepted_during_outage",
        "broker-down/outage_s",
        "broker-down/lost",
        "broker-down/doubled",
      ],
      (accepted, outage, lost, doubled) =>
        `${accepted} accepted in ${outage} without RabbitMQ; ${lost} lost, ${doubled} doubled`,
    ),
  "ten-thousand-events": (figures) =>
    figures.tell(
      [
        "ten-thousand-events/order_events",
        "ten-thousand-events/outcomes",
        "ten-thousand-events/produce_rate_per_s",
        "ten-thousand-events/process_rate_per_s",
      ],
      (events, outcomes, produced, processed) =>
        `${events} orders, ${outcomes} outcomes; ${produced} produced, ${processed} processed`,
    ),
  "consumer-lag": (figures) =>
    figures.tell(
      [
        "consumer-lag/peak_lag",
        "consumer-lag/drain_s",
        "consumer-lag/drain_rate_per_s",
        "consumer-lag/final_lag",
      ],
      (peak, drain, rate, final) => `lag up to ${peak}, ${final} after ${drain} (${rate})`,
    ),
  replay: (figures) =>
    figures.tell(
      ["replay/events_replayed", "replay/replay_s", "replay/digest_before", "replay/digest_after"],
      (events, duration, before, after) =>
        `${events} records in ${duration}; digest ${before} before, ${after} after`,
    ),
};
