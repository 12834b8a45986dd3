import { type Static, Type } from "@sinclair/typebox";
import { OrderId } from "./ids.ts";
import type { RejectReason } from "./order.ts";

interface Answer<Status> {
  status: Status;
  title: string;
}

/** Every error that a service may answer. Inventory's reasons for a "no" are 409: so Order tells them from errors. */
export const PROBLEMS = {
  bad_request: { status: 400, title: "The request can't be read" },
  malformed_json: { status: 400, title: "The body is not JSON" },
  not_found: { status: 404, title: "There is nothing at this path" },
  order_not_found: { status: 404, title: "There is no such order" },
  method_not_allowed: {
    status: 405,
    title: "This path has no such method",
  },
  unknown_item: { status: 409, title: "An item is not on the menu" },
  unknown_kitchen: { status: 409, title: "There is no such kitchen" },
  out_of_stock: { status: 409, title: "An item is out of stock" },
  order_released: { status: 409, title: "The order was given up before" },
  order_in_progress: {
    status: 409,
    title: "The first request with this key is still being worked on",
  },
  replay_in_progress: { status: 409, title: "A replay is running" },
  log_incomplete: {
    status: 409,
    title: "The log no longer has all that the metrics were computed from",
  },
  nothing_to_replay: { status: 409, title: "There is nothing to compute again" },
  body_too_large: { status: 413, title: "The body is over 64 KiB" },
  unsupported_media_type: { status: 415, title: "The body must be JSON" },
  invalid_request: { status: 422, title: "The request is not valid" },
  idempotency_key_reused: {
    status: 422,
    title: "This key came before with another body",
  },
  order_id_reused: { status: 422, title: "This order id came before with another order" },
  internal_error: { status: 500, title: "Something went wrong here" },
  injected_failure: { status: 500, title: "A fault was injected" },
  inventory_error: { status: 502, title: "Inventory answered with an error" },
  inventory_unreachable: { status: 503, title: "Inventory can't be reached" },
  broker_unavailable: { status: 503, title: "The broker can't be reached" },
  overloaded: { status: 503, title: "Too many requests at once" },
  store_unavailable: { status: 503, title: "The database is unavailable" },
  inventory_timeout: {
    status: 504,
    title: "Inventory did not answer in time; the order is given up",
  },
} as const satisfies Record<RejectReason, Answer<409>> & Record<string, Answer<number>>;

export type ProblemCode = keyof typeof PROBLEMS;

/** `application/problem+json` (RFC 9457) as every service answers it. */
export const ProblemBody = Type.Object({
  type: Type.String(),
  title: Type.String(),
  status: Type.Integer(),
  detail: Type.String(),
  instance: Type.String(),
  code: Type.String(),
  order_id: Type.Optional(OrderId),
});
export type ProblemBody = Static<typeof ProblemBody>;

/** An expected "no": thrown in a handler, answered as problem+json. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly orderId: string | undefined;
  readonly headers: Record<string, string>;

  constructor(
    code: ProblemCode,
    detail: string,
    more: { orderId?: string; headers?: Record<string, string> } = {},
  ) {
    super(detail);
    this.code = code;
    this.orderId = more.orderId;
    this.headers = more.headers ?? {};
  }

  get status(): number {
    return PROBLEMS[this.code].status;
  }
}

/** The body that describes `problem`; `instance` is the path of the request. */
export function problemBody(problem: Problem, instance: string): ProblemBody {
  const { status, title } = PROBLEMS[problem.code];
  return {
    type: `urn:campus-food:problem:${problem.code}`,
    title,
    status,
    detail: problem.message,
    instance,
    code: problem.code,
    ...(problem.orderId === undefined ? {} : { order_id: problem.orderId }),
  };
}
