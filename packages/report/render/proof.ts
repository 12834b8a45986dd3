import type { Evidence, Scalar } from "@lab/evidence/evidence";
import { composeExperiment, type Layout, pageOf, settingBlocks } from "./compose.ts";
import type { Block, ShownTable } from "../text/document.ts";
import { models, proofs } from "@lab/evidence/experiments";
import { formatScalar } from "../text/format.ts";

/** The page "Proof": what was done to the three models, and what the checker found. */
export function composeProof(evidence: Evidence[], layout: Layout): Block[] {
  return [
    heading("totals", "All of it"),
    { kind: "table", table: totalsTable(evidence) },
    ...settingBlocks(evidence),
    ...Object.entries(proofs).flatMap(([name, title]) => {
      const own = evidence.filter(({ experiment }) => experiment === name);
      if (own.length === 0) return [];
      const parts = models.flatMap(({ model, part, title: of }) =>
        own
          .filter((one) => one.model === model)
          .flatMap((one) => composeExperiment(one, layout, `${title}: ${part}. ${of}`)),
      );
      return [heading(name, title), ...parts];
    }),
    heading("understanding", "Understanding the results"),
    { kind: "list", items: UNDERSTANDING },
  ];
}

/** What every proof counts: the figure, and its heading. */
export const COUNTS: Record<string, string> = {
  violations: "violations",
  orders: "orders",
  acknowledged: "acknowledged",
  refused: "refused",
  unknown: "unknown",
  recovered: "recovered",
  repeated: "repeated",
  kills: "kills",
  faults: "faults",
};

/**
 * What each proof did to each model, in numbers, and the sums; a dash for what a proof doesn't
 * count.
 */
function totalsTable(evidence: Evidence[]): ShownTable {
  const names = Object.keys(COUNTS);
  const rows = evidence.map((one) => [
    `[${one.experiment}](#${one.experiment})`,
    one.held ? "held" : "**not held**",
    one.model,
    ...names.map((name) => shown(countOf(one, name))),
  ]);
  const sums = models.flatMap(({ model }) => {
    const own = evidence.filter((one) => one.model === model);
    return own.length === 0 ? [] : [["**all**", heldOf(own), model, ...sumsOf(own)]];
  });
  return {
    title: "What was done, and what was found",
    columns: [
      { name: "Proof", numeric: false },
      { name: "Result", numeric: false },
      { name: "Model", numeric: false },
      ...Object.values(COUNTS).map((name) => ({ name, numeric: true })),
    ],
    rows: [...rows, ...sums, ["**all**", heldOf(evidence), "", ...sumsOf(evidence)]],
    note: "Orders are those acknowledged, refused and unknown. Faults are those beside the kills. The violations of `mutants` are those that were not expected; the expected ones are in its own table.",
  };
}

/** What all proofs did and found, in one line; undefined where none is published. */
export function proofTotals(evidence: Evidence[]): string | undefined {
  const own = evidence.filter((one) => pageOf(one) === "proof");
  if (own.length === 0) return undefined;
  const total = (name: string) => formatScalar(sum(countsOf(own, name)));
  return `${heldOf(own)} proofs held, with ${total("orders")} orders, ${total("kills")} kills, ${total("faults")} other faults and ${total("violations")} violations`;
}

function sumsOf(evidence: Evidence[]): string[] {
  return Object.keys(COUNTS).map((name) => {
    const counted = countsOf(evidence, name);
    return shown(counted.length === 0 ? undefined : sum(counted));
  });
}

/** "13 of 13" */
function heldOf(evidence: Evidence[]): string {
  return `${evidence.filter((one) => one.held).length} of ${evidence.length}`;
}

function countsOf(evidence: Evidence[], name: string): number[] {
  return evidence.flatMap((one) => countOf(one, name) ?? []).map(Number);
}

/** Every order was acknowledged, refused, or left without an answer. */
function countOf({ figures }: Evidence, name: string): Scalar | undefined {
  const { acknowledged, orders, unknown } = figures;
  if (name !== "refused") return figures[name];
  const counted = [orders, acknowledged, unknown].every((one) => typeof one === "number");
  return counted ? Number(orders) - Number(acknowledged) - Number(unknown) : undefined;
}

function sum(values: number[]): number {
  return values.reduce((all, value) => all + value, 0);
}

function shown(value: unknown): string {
  return typeof value === "number" ? formatScalar(value) : "–";
}

const UNDERSTANDING = [
  "**Acknowledged** is what the client was told: 201 (synchronous) or 202. From then on the order must reach its end: confirmed or failed, in Kafka's model reserved or failed.",
  "**Unknown** is an operation without an answer: a timeout, a connection that broke. It may have happened or not, and both are legal. **Refused** is every other answer: the customer knows that there is no order. **Recovered** are the stored orders among them: they too must reach their end, and hold stock only if they stand.",
  "**Repeated** are messages that came again after they had been processed: the ledger knew them, and said the stored answer again. In the situations of `mutants` most of them are written twice on purpose.",
  "**Lost**: acknowledged, without an end; or one stored order for two that were answered. **Stuck**: stored, not acknowledged, without an end. **Dead**: a message of it lies in a dead queue, where it can be looked at and put back; seen, and not lost.",
  "**Doubled**: a customer told twice, or two orders under one Idempotency-Key. **Unbalanced**: opening stock is not what is left plus what is reserved, to the unit, which is how a doubled reservation shows. **Oversold**: more reserved than there was. **Leaked**: stock held for an order that failed or was never stored.",
  "**Contradicted**: the client or a neighbour was told one thing, the store says another. **Resurrected**: failed, and then something else. **Reordered**: worked on before an order of the same kitchen that was placed earlier, where the model promises their order. **Unexpected**: stored, though nobody asked. **Miscounted**: Analytics counts something else than the orders say. **Worsened**: Analytics showed it, and less of it later. **Unequal**: a replay computed other metrics. **Swallowed**: taken for another event with its id, and seen by nobody. **Endless**: a message tried more often than its limit. **Unfinished**: messages, replays or releases still on their way when nothing had moved for long. **Unnoticed**: the same, while every `/health` said 200 and that nothing is owed.",
  "**Why the checker can be believed.** It gets planted histories with each violation in its unit tests; and in `mutants` each protection is taken away, and it has to find what that breaks, in the same situations in which it finds nothing with the protection in place.",
  "**What is not covered.** What a client reads while its order is under way (`promises` alone looks), a message over which its consumer hangs for ever, power loss (a SIGKILL leaves the operating system's caches; that commits are synced is only stated), several machines, brokers of more than one node, clocks that jump, disks that lie.",
];

function heading(id: string, text: string): Block {
  return { kind: "heading", level: 2, id, text };
}
