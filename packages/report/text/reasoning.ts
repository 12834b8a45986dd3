// oxlint-disable typescript/restrict-template-expressions -- a Figure is made for templates: its text has the unit
import type { Block } from "./document.ts";
import type { Figures } from "./figure-reader.ts";
import { formatNumber } from "./format.ts";

/** A5: why the synchronous model behaves as it was measured. */
export function reasonAboutRest(figures: Figures): Block[] {
  return [
    heading("reasoning-a5", "A5: why it behaves so"),
    paragraph(
      figures.tell(
        [
          "baseline-latency/sequential_p50_ms",
          "baseline-latency/connections_20_p50_ms",
          "baseline-latency/connections_20_rate_per_s",
          "baseline-latency/sequential_rate_per_s",
        ],
        (alone, together, rate, rateAlone) =>
          `**The client waits for the whole chain.** One order is a request to OrderService, inside it one to Inventory and then one to Notification, each with a commit to disk before its answer. One after another that takes ${alone} (median), ${rateAlone}. ` +
          `With 20 connections the services work on several orders at once: ${rate}, and each order takes ${together}, since it now also queues. Twenty connections at ${rate} means ${formatNumber((20 / rate.number) * 1000)} ms per order on average (connections divided by rate): in a closed loop latency and throughput are one number seen from two sides.`,
      ),
    ),
    paragraph(
      figures.tell(
        [
          "slow-inventory/delay_ms",
          "slow-inventory/baseline_p50_ms",
          "slow-inventory/slow_p50_ms",
          "slow-inventory/slow_min_ms",
        ],
        (delay, before, slow, quickest) => {
          const more = slow.number - before.number;
          const none =
            quickest.number >= delay.number
              ? `not one was quicker than the delay (the quickest took ${quickest})`
              : `the quickest took ${quickest}, less than the delay, which the model does not explain`;
          return (
            `**A neighbour's delay is the client's delay.** With ${delay} injected into Inventory the median went from ${before} to ${slow}: ${formatNumber(more)} ms more, ${formatNumber((more / delay.number) * 100)} % of what was injected. ` +
            `Nothing stands between the delay and the client: the latencies of a synchronous chain add up, and ${none}.`
          );
        },
      ),
    ),
    paragraph(
      figures.tell(
        [
          "slow-inventory/connections",
          "slow-inventory/delay_ms",
          "slow-inventory/baseline_rate_per_s",
          "slow-inventory/slow_rate_per_s",
        ],
        (connections, delay, before, slow) =>
          `**Throughput goes with it, although no processor is busy.** ${connections} connections that wait ${delay} each can't carry more than ${formatNumber(connections.number / (delay.number / 1000))} orders/s, whatever the machine. Measured: ${slow}, where it had been ${before}. Connections, sockets and memory are held by orders that only wait; in a larger system that is how one slow service takes its callers down with it.`,
      ),
    ),
    {
      kind: "table",
      table: {
        title: "Four ways in which Inventory can be unwell, and what the client is told",
        columns: [
          { name: "Inventory", numeric: false },
          { name: "Client gets", numeric: false },
          { name: "After (median)", numeric: false },
          { name: "What is known then", numeric: false },
        ],
        rows: [
          ["answers late", "201", figures.tell(["slow-inventory/slow_p50_ms"], String), "reserved"],
          [
            "answers an error",
            "502",
            figures.tell(["failing-inventory/all_fail_p50_ms"], String),
            "**unknown**: released until Inventory answers",
          ],
          [
            "is dead",
            "503",
            figures.tell(["dead-inventory/unreachable_p50_ms"], String),
            "not reserved: the connection was refused",
          ],
          [
            "hangs",
            "504",
            figures.tell(["hanging-inventory/hung_p50_ms"], String),
            "**unknown**: released until Inventory answers",
          ],
        ],
      },
    },
    paragraph(
      figures.tell(
        [
          "dead-inventory/unreachable_p50_ms",
          "hanging-inventory/hung_p50_ms",
          "hanging-inventory/timeout_ms",
        ],
        (dead, hung, timeout) =>
          `**${dead.number < hung.number ? "Dead is kinder than hanging" : "Dead, against expectation, took longer than hanging"}.** A dead process refuses the connection, and the client knows after ${dead}. A hanging one says nothing, and only the caller's own timeout of ${timeout} ends the wait: ${hung}. The timeout is therefore a choice between waiting too long and giving up on an answer that was on its way.`,
      ),
    ),
    paragraph(
      figures.tell(
        [
          "hanging-inventory/timed_out",
          "hanging-inventory/held_during_units",
          "hanging-inventory/released",
          "hanging-inventory/held_after_units",
        ],
        (timedOut, held, released, after) =>
          `**A timeout is not a "no".** ${timedOut} orders were answered 504 while Inventory may have reserved for them after all. Treated as failures they would leak stock; so each leaves a persistent release that is repeated until Inventory has answered it (${released} answered here). Units held by failed orders: at most ${held} once Inventory was back, and ${after} in the end.` +
          (after.number === 0 ? "" : " **That should have been 0: stock leaked.**"),
      ),
    ),
    paragraph(
      figures.tell(
        [
          "failing-inventory/fail_rate",
          "failing-inventory/orders",
          "failing-inventory/refused",
          "failing-inventory/refused_expected",
          "failing-inventory/stock_missing_units",
          "failing-inventory/wrongly_notified",
        ],
        (rate, orders, refused, expected, missing, notified) =>
          `**The order can be no more reliable than its least reliable part.** With ${rate} of Inventory's calls failing, ${refused} of ${orders} orders failed (the seed gives ${expected}), with nothing in between to try again. For the failed ones ${missing} of stock are gone and ${notified} confirmations were sent: ${missing.number === 0 && notified.number === 0 ? "what failed left no trace" : "**it should be 0 and 0**"}.`,
      ),
    ),
    paragraph(
      figures.tell(
        [
          "dead-notification/orders",
          "dead-notification/accepted",
          "dead-notification/pending",
          "dead-notification/sent_after",
          "dead-notification/sent_twice",
          "dead-notification/answer_p50_ms",
        ],
        (orders, accepted, pending, sent, twice, answer) =>
          `**What need not be waited for, should not be.** With Notification dead ${accepted} of ${orders} orders were still answered 201 (median ${answer}), ${pending} of them with the confirmation _pending_; ${sent} went out after the restart, ${twice} of them twice. The step that may come later is kept and repeated: a queue of one's own, and the first step towards the next model.`,
      ),
    ),
  ];
}

/** B5: why a message delivered twice has one effect, and what the queue changes for the client. */
export function reasonAboutMessages(figures: Figures): Block[] {
  return [
    heading("reasoning-b5", "B5: why twice is once"),
    ...explainIdempotency(figures),
    paragraph(
      figures.tell(
        [
          "backlog-drain/outage_s",
          "backlog-drain/accepted_during_outage",
          "backlog-drain/answer_before_p50_ms",
          "backlog-drain/answer_p50_ms",
          "backlog-drain/answer_p99_ms",
          "backlog-drain/refused",
        ],
        (outage, accepted, before, during, tail, refused) =>
          `**What the client notices of a dead Inventory.** During ${outage} without it ${accepted} orders were answered 202, at a median of ${during} (99th percentile ${tail}; before the outage the median was ${before}); ${refused} were refused in the whole run. OrderService needs its own disk to answer, and nobody else.`,
      ),
    ),
    paragraph(
      figures.tell(
        [
          "backlog-drain/outage_s",
          "backlog-drain/offered_rate_per_s",
          "backlog-drain/peak_depth",
          "backlog-drain/drain_s",
          "backlog-drain/drain_rate_per_s",
          "backlog-drain/longest_completion_s",
        ],
        (outage, offered, peak, drain, rate, longest) =>
          `**Who pays, then.** The queue: ${offered} for ${outage} makes ${formatNumber(offered.number * outage.number)} messages, and ${peak} was the most that was seen. It emptied in ${drain} at ${rate}, while new orders kept coming; a backlog drains only because consuming is quicker than arriving, and it takes about depth / (consumed - arriving per second). And the order itself: the longest took ${longest} from 202 to its end. The wait didn't go away, it moved from the answer to the outcome.`,
      ),
    ),
    paragraph(
      figures.tell(
        [
          "backlog-drain/accepted",
          "backlog-drain/confirmed",
          "backlog-drain/failed",
          "backlog-drain/lost",
          "backlog-drain/doubled",
          "backlog-drain/stock_difference_units",
        ],
        (accepted, confirmed, failed, lost, doubled, difference) =>
          `**Every accepted order accounted for.** ${accepted} accepted: ${confirmed} confirmed, ${failed} failed, ${lost} lost, ${doubled} doubled. Stock differs from what these orders ask for by ${difference}.`,
      ),
    ),
    paragraph(
      figures.tell(
        [
          "broker-down/outage_s",
          "broker-down/accepted_during_outage",
          "broker-down/answer_p50_ms",
          "broker-down/peak_outbox",
          "broker-down/drain_s",
          "broker-down/lost",
          "broker-down/doubled",
        ],
        (outage, accepted, answer, outbox, drain, lost, doubled) =>
          `**And when the broker itself dies?** Order and event are stored in one transaction, the event in an _outbox_; publishing is a second step that may wait. With RabbitMQ dead for ${outage}, ${accepted} orders were answered 202 at a median of ${answer}; up to ${outbox} events waited in the outbox, and ${drain} after the broker's return nothing was waiting any more: ${lost} lost, ${doubled} doubled. "Commit, then publish" without an outbox loses exactly these.`,
      ),
    ),
    paragraph(
      figures.tell(
        [
          "poison-message/poison_messages",
          "poison-message/dead_lettered",
          "poison-message/good_orders",
          "poison-message/good_processed",
          "poison-message/replayed",
          "poison-message/replay_effects",
        ],
        (poison, dead, good, processed, replayed, effects) =>
          `**What can never succeed must not be repeated.** ${dead} of ${poison} poisonous messages went to the dead-letter queue, with their reasons, and ${processed} of ${good} good orders among them were processed: ${processed.value === good.value ? "nothing stood behind a message that would have failed for ever" : "**some stood behind a message that fails for ever**"}. ${replayed} were repaired and put back, with ${effects} effects.`,
      ),
    ),
  ];
}

/** What was delivered twice and measured once, and the strategy behind it. */
export function explainIdempotency(figures: Figures): Block[] {
  return [
    paragraph(
      figures.tell(
        [
          "duplicate-delivery/deliveries",
          "duplicate-delivery/orders",
          "duplicate-delivery/reservations",
          "duplicate-delivery/stock_before_units",
          "duplicate-delivery/stock_after_units",
          "duplicate-delivery/ordered_units",
        ],
        (deliveries, orders, reservations, before, after, ordered) => {
          const gone = before.number - after.number;
          const once = reservations.number === orders.number && gone === ordered.number;
          return (
            `**Measured.** ${deliveries} deliveries for ${orders} different orders, which ask for ${ordered}. Afterwards: ${reservations} reservations, stock from ${before} to ${after}, so ${formatNumber(gone)} gone. ` +
            (once
              ? "Each order was reserved exactly once."
              : "**That is not once for each order.**")
          );
        },
      ),
    ),
    paragraph(
      "**Why there are duplicates at all.** RabbitMQ delivers at least once. A consumer that dies between its commit and its `ack` gets the message again, and a publisher that loses the connection before the confirm has to send again. The `redelivered` flag doesn't help: it is a hint, and a message that was published twice doesn't carry it. Doing without duplicates would mean acknowledging first, which loses messages instead.",
    ),
    paragraph(
      "**The strategy.** Inventory keeps a _ledger_ `(consumer, event_id, outcome)` in the same SQLite file as the stock. Ledger row, reservation, change of stock and outgoing event commit in _one_ transaction; only then does the `ack` go out. Killed before the commit, nothing happened and the redelivery does it. Killed after it, the redelivery finds the ledger row. A set in memory would forget at a restart; a row written before the reservation would lose the order in a crash.",
    ),
    paragraph(
      figures.tell(
        [
          "duplicate-delivery/answers_repeated",
          "duplicate-delivery/confirmations",
          "duplicate-delivery/orders",
        ],
        (repeated, confirmations, orders) =>
          `**Three guards, not one.** The event id is the first. The order id is the second: a reservation has it as its key, so the same order under a new event id finds its reservation. The third looks downstream: a duplicate gets the stored outcome said _again_ (${repeated} times here), because the first answer may be what was lost, and its event id is derived from the cause, so the next service recognises it. ${confirmations} confirmations for ${orders} orders.`,
      ),
    ),
  ];
}

/** C4: why a replay gives the same metrics, and which kind of metric it would not reproduce. */
export function reasonAboutReplay(figures: Figures): Block[] {
  return [
    heading("reasoning-c4", "C4: why a replay gives the same numbers"),
    paragraph(
      figures.tell(
        [
          "replay/events_replayed",
          "replay/replay_s",
          "replay/digest_before",
          "replay/digest_at_reset",
          "replay/digest_after",
          "replay/orders_before",
          "replay/orders_after",
        ],
        (events, duration, before, reset, after, ordersBefore, ordersAfter) =>
          `**Measured.** ${events} records were folded again in ${duration} (${formatNumber(events.number / duration.number)} records/s). The digest of the metrics was ${before} before, ${reset} at the reset, when nothing had been folded yet, and ${after} after: ` +
          (before.value === after.value
            ? `the same, to the last bit. Orders counted: ${ordersBefore} before, ${ordersAfter} after.`
            : `**not the same**, although they should be. Orders counted: ${ordersBefore} before, ${ordersAfter} after.`),
      ),
    ),
    paragraph(
      "**Why they are equal.** The log is still there: consuming from Kafka removes nothing, so the input of the second computation is the input of the first. The rest is up to the computation, which is a _pure fold_: it looks at nothing but the records. (1) Orders per minute are bucketed by the time _in the event_, not by the clock on the wall. (2) Repeated event ids count once. (3) It only adds whole numbers, which comes out the same in whatever order the partitions are read. (4) The end offsets are noted before the reset, and the replay stops there; what is produced meanwhile belongs to the time after the swap. (5) Aggregate and offsets are stored in one transaction, and older offsets are ignored, so a crash in between can't count a record twice.",
    ),
    paragraph(
      figures.tell(
        [
          "replay/processing_rate_before_per_min",
          "replay/processing_rate_after_per_min",
          "replay/orders_per_minute_before",
          "replay/orders_per_minute_after",
        ],
        (before, after, eventBefore, eventAfter) => {
          const ratio = after.number / before.number;
          return (
            `**Which kind of metric is not.** Orders per minute _by processing time_ were ${before} before and ${after} after the replay, ${formatNumber(ratio)} times as many, from the same records. It divides by how long the reader took, so it measures the reader: a replay runs as quickly as the disk gives the records. By event time the busiest minute had ${eventBefore} orders before and ${eventAfter} after. ` +
            "Anything that asks the clock, a random number, another service or the order of arrival has the same fault."
          );
        },
      ),
    ),
    paragraph(
      figures.tell(
        ["replay/killed_duplicates", "replay/killed_digest_before", "replay/killed_digest_after"],
        (duplicates, before, after) =>
          `**With a crash in the history.** In the second round Inventory was killed with SIGKILL in the middle of its work. It may then send outcomes again whose offset it hadn't committed: ${duplicates} records in \`inventory-events\` repeat an event id. The digests, ${before} before and ${after} after, are ` +
          (before.value === after.value
            ? "equal all the same: the repeated outcome has the same event id, derived from its cause, and counts once."
            : "**not equal**, which they should be."),
      ),
    ),
    paragraph(
      figures.tell(["replay/live_reset_refused"], (refused) =>
        refused.value === true
          ? "**Why the group has to leave first.** Resetting the offsets of a group with live members was refused: a member would go on from its position in memory and commit that over the reset. So Analytics leaves its group, sets the offsets, and joins again."
          : "**Why the group has to leave first.** Resetting the offsets of a group with live members was **not** refused in this run, although it should be: a member would commit its own position over the reset.",
      ),
    ),
    paragraph(
      figures.tell(
        [
          "consumer-lag/throttle_ms",
          "consumer-lag/throttled_rate_per_s",
          "consumer-lag/peak_lag",
          "consumer-lag/drain_s",
          "consumer-lag/drain_rate_per_s",
          "consumer-lag/final_lag",
        ],
        (throttle, slow, peak, drain, rate, final) =>
          `**Lag is the stream's queue depth.** With ${throttle} per message Inventory managed ${slow}, and up to ${peak} records waited; released, they were gone in ${drain} at ${rate}, and the lag at the end was ${final}. The producer noticed nothing: the log takes what comes, and the consumer reads at its own speed. Unlike in a queue the records are still there afterwards, which is what makes the replay above possible.`,
      ),
    ),
  ];
}

/** How to read the report's numbers. */
export function understanding(figures: Figures): Block[] {
  return [
    {
      kind: "heading",
      level: 2,
      id: "understanding",
      text: "Understanding the results",
    },
    paragraph(
      "**Percentiles.** p50 (the median) is the latency that half of the orders stayed under, p99 the one that 99 of 100 stayed under. The mean hides the tail, and the tail is what a busy client meets: one who sends 100 orders meets p99 with a chance of 63 %. The percentile charts give each further nine the same room, since that is where the interesting part is. With 100 samples p99 is the second slowest order, no more; don't read more into it.",
    ),
    paragraph(
      figures.tell(
        [
          "baseline-latency/connections_20_rate_per_s",
          "baseline-latency/open_loop_rate_per_s",
          "baseline-latency/open_loop_p99_ms",
          "baseline-latency/connections_20_p99_ms",
        ],
        (closed, open, openTail, closedTail) =>
          `**Open loop and closed loop.** In a closed loop a client sends its next order when it has the last answer: a slow service is asked less often, and so looks better than it is (here ${closed} at 20 connections, p99 ${closedTail}). In an open loop orders come at their own rate (here ${open}, p99 ${openTail}), and latency counts from when the order _should have been sent_, so that waiting for one's turn counts too. People who order lunch are an open loop. Don't compare latencies from the two with each other, nor a healthy median at 20 connections with that of one order alone: with so many waiting for the same machine it is about 20 divided by the orders a second, and differs as that does from one experiment to the next.`,
      ),
    ),
    paragraph(
      "**Failed and unknown.** A refused connection or a 4xx/5xx answer is a _failure_ to the customer: the answer is no, and no order comes of it. (Behind a 502 or a 504 Inventory may have reserved all the same, so OrderService sends it a release until it has answered.) A timeout, or a connection that breaks, is _unknown_: the order may have been taken, and only the answer got lost. The checks count unknown apart from failed and look up later what became of it.",
    ),
    paragraph(
      "**Lost and doubled.** _Lost_: answered 201 or 202, but never reached its end. _Doubled_: its effect happened more than once. Both have to be 0 in every experiment, whatever was killed. _Held_ means that every check of an experiment came out as expected; durations are reported, but no check asks for a duration's upper bound.",
    ),
    paragraph(
      "**Depth and lag.** Queue depth is what RabbitMQ holds for a consumer, taken and not acknowledged included. Consumer lag is a partition's end offset minus the offset that the group has _committed_; records in progress therefore count as lag. Both are sampled: a peak between two samples isn't seen.",
    ),
    paragraph(
      "**Why your numbers will differ.** Services, brokers and the load itself share one machine's processors and one disk here, and each commit waits for that disk. Absolute numbers are those of the machine named above. What should come out alike elsewhere: the order of magnitude between the models, that a delay adds up in the synchronous one, counts, digests and all the zeros. A second run differs in its latencies, and in nothing that is counted from the seed.",
    ),
  ];
}

function heading(id: string, text: string): Block {
  return { kind: "heading", level: 3, id, text };
}

function paragraph(text: string): Block {
  return { kind: "paragraph", text };
}
