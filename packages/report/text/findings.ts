// oxlint-disable typescript/restrict-template-expressions -- a Figure is made for templates: its text has the unit
import { type Figures, said } from "./figure-reader.ts";

/**
 * What each chart found, in one sentence of measured figures: experiment and chart, as in
 * `slow-inventory/percentiles`. Undefined where a figure is missing.
 */
export const findings: Record<string, (figures: Figures) => string | undefined> = {
  "baseline-latency/percentiles": said(
    [
      "baseline-latency/sequential_p50_ms",
      "baseline-latency/connections_20_p50_ms",
      "baseline-latency/connections_20_rate_per_s",
    ],
    (alone, together, rate) =>
      `An order through three services takes ${alone} on its own, ${together} at 20 connections (${rate})`,
  ),
  "slow-inventory/percentiles": said(
    ["slow-inventory/delay_ms", "slow-inventory/baseline_p50_ms", "slow-inventory/slow_p50_ms"],
    (delay, before, slow) =>
      `${delay} in Inventory became ${slow} for the customer, where it had been ${before}`,
  ),
  "failing-inventory/answers": said(
    [
      "failing-inventory/all_fail_refused",
      "failing-inventory/all_fail_orders",
      "failing-inventory/refused",
      "failing-inventory/orders",
      "failing-inventory/fail_rate",
    ],
    (all, of, some, orders, rate) =>
      `Inventory's error is the customer's 502: ${all} of ${of} when every call fails, ${some} of ${orders} when ${rate} do`,
  ),
  "hanging-inventory/answers": said(
    [
      "hanging-inventory/timed_out",
      "hanging-inventory/orders",
      "hanging-inventory/hung_p50_ms",
      "hanging-inventory/held_after_units",
    ],
    (timedOut, orders, hung, held) =>
      `Inventory hangs: ${timedOut} of ${orders} orders answered 504, after ${hung}; ${held} held in the end`,
  ),
  "dead-inventory/answers": said(
    ["dead-inventory/unreachable", "dead-inventory/orders", "dead-inventory/unreachable_p50_ms"],
    (refused, orders, p50) =>
      `Inventory dead: ${refused} of ${orders} orders refused with 503, after ${p50}`,
  ),
  "dead-notification/answers": said(
    ["dead-notification/accepted", "dead-notification/orders", "dead-notification/sent_after"],
    (accepted, orders, sent) =>
      `Notification dead: ${accepted} of ${orders} orders answered 201 all the same, ${sent} confirmations sent later`,
  ),
  "backlog-drain/queue-depth": said(
    [
      "backlog-drain/outage_s",
      "backlog-drain/peak_depth",
      "backlog-drain/drain_s",
      "backlog-drain/lost",
      "backlog-drain/doubled",
    ],
    (outage, peak, drain, lost, doubled) =>
      `Inventory dead for ${outage}: ${peak} messages waited, gone ${drain} after its return; ${lost} lost, ${doubled} doubled`,
  ),
  "broker-down/outbox-depth": said(
    [
      "broker-down/outage_s",
      "broker-down/peak_outbox",
      "broker-down/drain_s",
      "broker-down/lost",
      "broker-down/doubled",
    ],
    (outage, peak, drain, lost, doubled) =>
      `RabbitMQ dead for ${outage}: ${peak} events waited in the outbox, gone ${drain} after its return; ${lost} lost, ${doubled} doubled`,
  ),
  "ten-thousand-events/progress": said(
    [
      "ten-thousand-events/events",
      "ten-thousand-events/produce_rate_per_s",
      "ten-thousand-events/process_rate_per_s",
    ],
    (events, produced, processed) =>
      `${events} orders at once: written to the log at ${produced}, through Inventory at ${processed}`,
  ),
  "ten-thousand-events/percentiles": said(
    ["ten-thousand-events/answer_p50_ms", "ten-thousand-events/answer_p99_ms"],
    (p50, p99) => `Half of the orders are answered within ${p50}, 99 of 100 within ${p99}`,
  ),
  "consumer-lag/lag": said(
    ["consumer-lag/peak_lag", "consumer-lag/final_lag"],
    (peak, final) =>
      `Every partition falls behind: ${peak} records together at the peak, ${final} at the end`,
  ),
  "consumer-lag/total-lag": said(
    ["consumer-lag/throttled_rate_per_s", "consumer-lag/peak_lag", "consumer-lag/drain_s"],
    (rate, peak, drain) =>
      `Slowed to ${rate} and then stopped, Inventory is ${peak} records behind; released, it catches up in ${drain}`,
  ),
  "replay/per-minute": said(
    ["replay/orders_before", "replay/orders_after", "replay/digest_before", "replay/digest_after"],
    (before, after, digest, again) =>
      `${before} orders before the replay, ${after} after: ${digest.value === again.value ? "minute by minute the same" : "not the same metrics"}`,
  ),
  "replay/progress": said(
    ["replay/events_replayed", "replay/replay_s"],
    (events, duration) => `${events} records read again in ${duration}`,
  ),
};
