import type { PlaceOrder } from "@lab/contracts/order";
import { isOffMenu } from "@lab/lab/check/checker";
import type { Model } from "@lab/evidence/evidence";
import type { Operation } from "@lab/lab/load/history";
import { answerOf } from "@lab/lab/load/history";

/** What the client of an order is told while all is well: an order for what isn't on the menu is among them. */
export const GOOD_ANSWERS: Record<Model, string[]> = {
  "sync-rest": ["ok 201", "failed 409 unknown_item"],
  "async-rabbitmq": ["ok 202"],
  "streaming-kafka": ["ok 202"],
};

/** What each model may tell the client of an order while services, brokers and links are away. */
const LEGAL: Record<Model, readonly string[]> = {
  "sync-rest": [
    "ok 201",
    "failed 502 inventory_error",
    "failed 503 inventory_unreachable",
    "failed 504 inventory_timeout",
  ],
  "async-rabbitmq": ["ok 202"],
  "streaming-kafka": ["ok 202"],
};

/**
 * The answers that no client may get, but for those that are legal `here`: each kind, and how often.
 * A bug's 500 is one everywhere.
 */
export function illegalAnswers(
  model: Model,
  operations: readonly Operation[],
  here: readonly string[] = [],
): string[] {
  const illegal = operations.filter(
    (one) => one.kind === "place_order" && !isLegal(model, one) && !here.includes(answerOf(one)),
  );
  return [...Map.groupBy(illegal, answerOf)].map(([answer, { length }]) => `${length} ${answer}`);
}

function isLegal(model: Model, operation: Operation): boolean {
  const { code, key, outcome, request, status } = operation;
  if (outcome === "unknown") return status === undefined;
  const answer = answerOf(operation);
  if (answer === "failed connection_refused" || LEGAL[model].includes(answer)) return true;
  if (model !== "sync-rest" || status !== 409) return false;
  if (code === "order_in_progress") return key !== undefined;
  return code === "unknown_item" && isOffMenu(request as PlaceOrder);
}
