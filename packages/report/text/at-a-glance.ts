// oxlint-disable typescript/restrict-template-expressions -- a Figure is made for templates: its text has the unit
import type { Evidence } from "@lab/evidence/evidence";
import type { ExperimentName } from "@lab/evidence/figures";
import type { Panel } from "./document.ts";
import type { Figures } from "./figure-reader.ts";
import { type Picture, picturesOf } from "./picture.ts";

/** The same order and the same fault, an Inventory that doesn't answer, in each model of which that was measured. */
export function glancePanels(
  evidence: Evidence[],
  figures: Figures,
  fileOf: (one: Evidence, pictureId: string) => string,
): Panel[] {
  const panels: (Pick<Panel, "title" | "text"> & {
    experiment: ExperimentName;
    picture: string;
    /** Of the picture's lines. */
    line?: string;
  })[] = [
    {
      title: "REST: the customer is sent away",
      experiment: "dead-inventory",
      picture: "answers",
      text: figures.tell(
        [
          "dead-inventory/unreachable",
          "dead-inventory/orders",
          "dead-inventory/unreachable_p50_ms",
          "dead-inventory/confirmed_after",
        ],
        (refused, orders, p50, after) =>
          `Inventory dead: **${refused} of ${orders} orders refused**, with 503 after ${p50}. Back again, ${after} of ${orders} were confirmed; the refused ones are gone.`,
      ),
    },
    {
      title: "RabbitMQ: the order waits in a queue",
      experiment: "backlog-drain",
      picture: "queue-depth",
      line: "ready",
      text: figures.tell(
        [
          "backlog-drain/outage_s",
          "backlog-drain/accepted_during_outage",
          "backlog-drain/answer_p50_ms",
          "backlog-drain/drain_s",
          "backlog-drain/lost",
        ],
        (outage, accepted, answer, drain, lost) =>
          `Inventory dead for ${outage}: **${accepted} orders accepted**, each after ${answer} (median). Back again, the backlog was gone in ${drain}; ${lost} lost.`,
      ),
    },
    {
      title: "Kafka: the order waits in the log",
      experiment: "consumer-lag",
      picture: "total-lag",
      line: "lag",
      text: figures.tell(
        [
          "consumer-lag/events",
          "consumer-lag/peak_lag",
          "consumer-lag/drain_s",
          "consumer-lag/lost",
        ],
        (events, peak, drain, lost) =>
          `Inventory slowed, then hanging: all **${events} orders accepted**, up to ${peak} of them not yet worked on. Released, it caught up in ${drain}; ${lost} lost.`,
      ),
    },
  ];
  return panels.flatMap(({ experiment, line, picture: id, text, title }): Panel[] => {
    const one = evidence.find((candidate) => candidate.experiment === experiment);
    const picture = one && picturesOf(one).find((candidate) => candidate.id === id);
    if (!one || !picture) return [];
    return [
      {
        title,
        text,
        picture: only(picture, line),
        id: `glance-${experiment}`,
        file: fileOf(one, id),
      },
    ];
  });
}

/** The picture with that line alone. */
function only(picture: Picture, line: string | undefined): Picture {
  const { plot } = picture;
  if (plot.kind !== "lines" || line === undefined) return picture;
  const lines = plot.series.lines.filter(({ name }) => name === line);
  return { ...picture, plot: { ...plot, series: { ...plot.series, lines } } };
}

/** Which model this campus should take. The queue is chosen only where it refused, lost and doubled nothing in this run. */
export function conclusion(figures: Figures): string {
  return figures.tell(
    [
      "dead-inventory/unreachable",
      "dead-inventory/orders",
      "backlog-drain/accepted_during_outage",
      "backlog-drain/refused",
      "backlog-drain/lost",
      "backlog-drain/doubled",
      "broker-down/refused",
      "broker-down/lost",
      "broker-down/doubled",
    ],
    (unserved, orders, accepted, ...wrong) => {
      const [refused, lost, doubled, brokerRefused, brokerLost, brokerDoubled] = wrong;
      if (wrong.some(({ number }) => number > 0)) {
        return `**Conclusion: for this campus, this run gives no ground for a choice.** Behind RabbitMQ ${refused} orders were refused, ${lost} lost and ${doubled} doubled with Inventory dead; ${brokerRefused}, ${brokerLost} and ${brokerDoubled} with RabbitMQ dead. All of these should be 0.`;
      }
      return `**Conclusion: for this campus, I would choose RabbitMQ, because** a kitchen that is away must not cost a sale: with Inventory dead, REST refused ${unserved} of ${orders} orders; behind the queue ${accepted} were accepted, ${lost} lost, ${doubled} doubled, and as few when the broker itself was killed.`;
    },
  );
}

/** What the choice costs, what doesn't decide it, and when it would be another. */
export function conclusionReasons(figures: Figures): string[] {
  return [
    figures.tell(
      [
        "baseline-latency/open_loop_p50_ms",
        "baseline-latency/connections_20_rate_per_s",
        "backlog-drain/answer_before_p50_ms",
        "backlog-drain/completion_p50_ms",
        "backlog-drain/drain_rate_per_s",
      ],
      (rest, restRate, answer, end, drain) =>
        `**Speed doesn't decide.** The answer took ${rest} over REST and ${answer} with RabbitMQ, where the order's end came after ${end}: no customer feels the difference. ${restRate} and ${drain} are both more than a campus orders.`,
    ),
    figures.tell(
      ["backlog-drain/longest_completion_s"],
      (longest) =>
        `**The price.** The answer says _placed_, not _confirmed_; in the outage an order took up to ${longest} to its end. And there is a broker to run.`,
    ),
    figures.tell(
      ["replay/events_replayed", "replay/replay_s", "ten-thousand-events/process_rate_per_s"],
      (events, duration, rate) =>
        `**Kafka instead**, if what happened is itself wanted: it computed the metrics of ${events} records again in ${duration}, and orders went through at ${rate}.`,
    ),
    figures.tell(
      ["slow-inventory/slow_p50_ms", "slow-inventory/delay_ms"],
      (slow, delay) =>
        `**REST instead**, if the customer can't go on without the outcome, and every service in the chain is quick: ${delay} in one of them became ${slow} for the customer.`,
    ),
  ];
}
