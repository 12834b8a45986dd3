import type { PlaceOrder } from "@lab/contracts/order";
import { PROBLEMS } from "@lab/contracts/problem";
import { isOffMenu } from "@lab/lab/check/checker";
import type { Model } from "@lab/evidence/evidence";
import { PROMISES } from "@lab/evidence/promises";
import type { Operation } from "@lab/lab/load/history";
import { answerOf } from "@lab/lab/load/history";
import { factsOf } from "@lab/lab/brokers/model-facts";

/** The answer to an order that the order service can't store. */
export const REFUSED = "failed 503 store_unavailable";

/** What the client of an order is told while all is well: an order for what isn't on the menu is among them. */
export function goodAnswers(model: Model): string[] {
  const { answer } = PROMISES[model];
  return answer === 201 ? ["ok 201", "failed 409 unknown_item"] : ["ok 202"];
}

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
  const { answer } = PROMISES[model];
  // Services, brokers and links may be away.
  const givenUp = factsOf(model).givenUp.map((why) => `failed ${PROBLEMS[why].status} ${why}`);
  const legal = [`ok ${answer}`, "failed connection_refused", ...givenUp];
  if (legal.includes(answerOf(operation))) return true;
  // Only who has the result can refuse because of it.
  if (answer !== 201 || status !== 409) return false;
  if (code === "order_in_progress") return key !== undefined;
  return code === "unknown_item" && isOffMenu(request as PlaceOrder);
}
