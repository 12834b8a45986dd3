import { PlaceOrder } from "@lab/contracts/order";
import { PROBLEMS, ProblemBody } from "@lab/contracts/problem";
import type { TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";

/** A request that a service must refuse, and how. */
export interface BadRequest {
  name: string;
  method?: string;
  path: string;
  headers?: Record<string, string>;
  /** A string is sent unchanged, anything else as JSON. */
  body?: unknown;
  code: keyof typeof PROBLEMS;
  /** The beginning of the answer's detail. */
  detail?: string;
}

const ORDER_ID = "00000000-0000-4000-8000-000000000000";
const ITEM = { sku: "burger", qty: 1 };
const JSON_TYPE = { "content-type": "application/json" };

/** What every route that takes JSON refuses. */
function notJson(path: string, method = "POST"): BadRequest[] {
  const request = { path, method };
  return [
    { ...request, name: "cut off", body: '{"a":', code: "malformed_json" },
    { ...request, name: "an empty body", body: "", code: "invalid_request" },
    { ...request, name: "null", body: "null", code: "invalid_request" },
    { ...request, name: "an array", body: "[]", code: "invalid_request" },
    { ...request, name: "a string", body: '"x"', code: "invalid_request" },
    {
      ...request,
      name: "an unknown property",
      body: { unknown: 1 },
      code: "invalid_request",
    },
    { ...request, name: "a prototype", body: '{"__proto__":{}}', code: "invalid_request" },
    {
      ...request,
      name: "plain text",
      headers: { "content-type": "text/plain" },
      body: "hello",
      code: "unsupported_media_type",
    },
    {
      ...request,
      name: "64 KiB and a byte",
      body: " ".repeat(64 * 1024 + 1),
      code: "body_too_large",
    },
    {
      ...request,
      name: "1 MiB",
      body: " ".repeat(1024 * 1024),
      code: "body_too_large",
    },
    { ...request, name: "no body", headers: {}, code: "invalid_request" },
  ];
}

/** Bodies like `honest` with one wrong field. */
function wrongFields(
  path: string,
  honest: Record<string, unknown>,
  wrong: Record<string, unknown[]>,
): BadRequest[] {
  return Object.entries(wrong).flatMap(([field, values]) =>
    values.map((value): BadRequest => ({
      name: `${field} is ${JSON.stringify(value)?.slice(0, 60) ?? "missing"}`,
      path,
      body: { ...honest, [field]: value },
      code: "invalid_request",
    })),
  );
}

/**
 * Invalid names: too long, blank, or with line breaks, bidirectional controls or terminal control
 * characters.
 */
const BAD_NAMES = [
  null,
  "",
  7,
  "u".repeat(65),
  "🍔".repeat(65),
  " \u3000",
  "\u200b",
  "a\tb",
  "\u0000",
  "\u009b2J",
  "a\u2028b",
  "a\u202eb",
];
const BAD_USERS = [
  undefined,
  ...BAD_NAMES,
  // This one can't be converted to text.
  { toString: "x" },
];
const BAD_KITCHENS = BAD_NAMES;
const BAD_IDS = [undefined, null, 7, "", "x", ORDER_ID.toUpperCase() + "0"];
const BAD_ITEMS = [
  undefined,
  null,
  {},
  [],
  [null],
  [{}],
  [{ sku: "burger" }],
  ...BAD_NAMES.map((sku) => [{ sku, qty: 1 }]),
  [{ ...ITEM, note: "no onions" }],
  [ITEM, ITEM],
  Array.from({ length: 21 }, (_, n) => ({ sku: `s${n}`, qty: 1 })),
  ...[0, -1, 101, 1.5, 1e12, "1", null, true].map((qty) => [{ sku: "burger", qty }]),
];

/** A lone surrogate, escaped in JSON. */
const LONE_SURROGATE = '{"user_id":"\\ud800","items":[{"sku":"burger","qty":1}]}';

const EVERY_SERVICE: BadRequest[] = [
  { name: "an unknown path", method: "GET", path: "/nope", code: "not_found" },
  {
    name: "a wrong method",
    method: "DELETE",
    path: "/health",
    code: "method_not_allowed",
  },
  {
    name: "a host that is none",
    method: "GET",
    path: "/health",
    headers: { host: "a b" },
    code: "bad_request",
  },
  ...notJson("/faults", "PUT"),
  ...[{ fail_rate: 2 }, { delay_ms: -1 }, { hang: "yes" }, { seed: 0.5 }].map(
    (body): BadRequest => ({
      name: JSON.stringify(body),
      method: "PUT",
      path: "/faults",
      body,
      code: "invalid_request",
    }),
  ),
];

function badPages(path: string): BadRequest[] {
  return ["limit=0", "limit=1001", "limit=x", "limit=1.5", "limit=", "after=x", "more=1"].map(
    (query) => ({
      name: query,
      method: "GET",
      path: `${path}?${query}`,
      code: "invalid_request",
      detail: `query/${query.split("=")[0]}: `,
    }),
  );
}

/** What the service that takes orders refuses, in all three models. */
export const BAD_ORDERS: BadRequest[] = [
  ...EVERY_SERVICE,
  ...notJson("/order"),
  ...wrongFields(
    "/order",
    { user_id: "u1", items: [ITEM], kitchen: "main" },
    { user_id: BAD_USERS, items: BAD_ITEMS, kitchen: BAD_KITCHENS, x: [1] },
  ),
  ...["two words", "ü", "k".repeat(129)].map((key): BadRequest => ({
    name: `the key ${key.slice(0, 20)}`,
    path: "/order",
    headers: { "idempotency-key": key },
    body: { user_id: "u1", items: [ITEM] },
    code: "invalid_request",
  })),
  {
    name: "half of a surrogate pair",
    path: "/order",
    body: LONE_SURROGATE,
    code: "invalid_request",
  },
  ...badPages("/orders"),
  {
    name: "a status that is none",
    method: "GET",
    path: "/orders?status=eaten",
    code: "invalid_request",
    detail: "query/status: Expected placed",
  },
  {
    name: "an order id that is none",
    method: "GET",
    path: "/orders/1",
    code: "invalid_request",
  },
  {
    name: "an unknown order id",
    method: "GET",
    path: `/orders/${ORDER_ID}`,
    code: "order_not_found",
  },
  {
    name: "GET of the order route",
    method: "GET",
    path: "/order",
    code: "method_not_allowed",
  },
];

/** What Inventory refuses in all three models: each has these routes. */
export const BAD_LOOK_UPS: BadRequest[] = [
  ...EVERY_SERVICE,
  {
    name: "an unknown order id",
    method: "GET",
    path: `/reservations/${ORDER_ID}`,
    code: "order_not_found",
  },
  {
    name: "an order id that is none",
    method: "GET",
    path: "/reservations/1",
    code: "invalid_request",
  },
];

/** Only the REST model's Inventory has commands. */
export const BAD_RESERVATIONS: BadRequest[] = [
  ...notJson("/reserve"),
  ...notJson("/release"),
  ...wrongFields(
    "/reserve",
    { order_id: ORDER_ID, kitchen: "main", items: [ITEM] },
    {
      order_id: BAD_IDS,
      kitchen: [undefined, ...BAD_KITCHENS],
      items: BAD_ITEMS,
    },
  ),
  ...wrongFields("/release", {}, { order_id: BAD_IDS }),
];

export const BAD_SENDS: BadRequest[] = [
  ...notJson("/send"),
  ...wrongFields(
    "/send",
    { order_id: ORDER_ID, user_id: "u1", kitchen: "main" },
    {
      order_id: BAD_IDS,
      user_id: BAD_USERS,
      kitchen: [undefined, ...BAD_KITCHENS],
    },
  ),
];

export const BAD_NOTIFICATION_PAGES: BadRequest[] = [
  ...EVERY_SERVICE,
  ...badPages("/notifications"),
];

export const BAD_BULKS: BadRequest[] = [
  ...notJson("/orders/bulk"),
  ...wrongFields(
    "/orders/bulk",
    { count: 1 },
    {
      count: [undefined, null, 0, -1, 1.5, "10", 1e9],
      seed: [null, -1, 0.5, "1"],
      kitchens: [null, 0, 26, "2"],
      rate_per_s: [null, 0, -1, "10", 1e9],
      fail_rate: [null, -0.1, 1.1, "0"],
      x: [1],
    },
  ),
  {
    name: "an unknown stream",
    method: "GET",
    path: `/orders/bulk/${ORDER_ID}`,
    code: "not_found",
  },
];

export const BAD_REPLAYS: BadRequest[] = [
  ...EVERY_SERVICE,
  { name: "no replay yet", method: "GET", path: "/replay", code: "not_found" },
  {
    name: "GET metrics by PUT",
    method: "PUT",
    path: "/metrics",
    headers: JSON_TYPE,
    body: {},
    code: "method_not_allowed",
  },
];

/** A route that takes JSON, and its schema. */
export interface JsonRoute {
  service: Role;
  path: string;
  body: TSchema;
}

export const ORDER_ROUTE: JsonRoute = { service: "order", path: "/order", body: PlaceOrder };

type Role = "order" | "inventory" | "downstream";

/** The targets of bad input; each model defines its own. */
export interface InputTable {
  /** What each service must refuse. */
  bad: Record<Role, readonly BadRequest[]>;
  /** The routes that take JSON, besides `/faults`. */
  routes: readonly JsonRoute[];
}

/**
 * Sends the request, and returns in one line what is wrong with the answer; undefined when it was
 * refused as it should be.
 */
export async function complaint(url: string, bad: BadRequest): Promise<string | undefined> {
  const response = await send(url, bad);
  const wrong = await notAProblem(response);
  const { status } = PROBLEMS[bad.code];
  const label = `${bad.method ?? "POST"} ${bad.path}, ${bad.name}`;
  if (wrong.text) return `${label}: ${wrong.text}`;
  if (response.status !== status || wrong.code !== bad.code) {
    return `${label}: ${response.status} ${wrong.code}, expected ${status} ${bad.code}`;
  }
  if (wrong.detail?.startsWith(bad.detail ?? "")) return undefined;
  return `${label}: ${wrong.detail}, expected ${bad.detail}…`;
}

/**
 * Sends any value as JSON to a route. Returns a complaint when the answer is neither a success nor
 * a proper refusal, and the order's id when it names a stored one.
 */
export async function fuzzComplaint(
  url: string,
  path: string,
  body: unknown,
): Promise<{ complaint?: string; order_id?: string }> {
  const response = await send(url, { path, body });
  const copy = (await response.clone().json()) as { order_id?: string };
  const stored = path === "/order" && copy.order_id ? { order_id: copy.order_id } : {};
  if (response.ok) return stored;
  const { text } = await notAProblem(response);
  if (text) return { complaint: text };
  return response.status >= 500 ? { complaint: `${response.status}` } : stored;
}

function send(
  url: string,
  bad: Pick<BadRequest, "method" | "path" | "headers" | "body">,
): Promise<Response> {
  const { method = "POST", path, headers = JSON_TYPE, body } = bad;
  return fetch(`${url}${path}`, {
    method,
    headers: { ...JSON_TYPE, ...headers },
    ...(method === "GET" || method === "DELETE"
      ? {}
      : { body: typeof body === "string" ? body : JSON.stringify(body) }),
  });
}

async function notAProblem(
  response: Response,
): Promise<{ text?: string; code?: string; detail?: string }> {
  const text = await response.text();
  const type = response.headers.get("content-type");
  if (type !== "application/problem+json") {
    return { text: `${response.status} ${type}: ${text.slice(0, 100)}` };
  }
  const body: unknown = JSON.parse(text);
  if (!Value.Check(ProblemBody, body)) return { text: `not a problem: ${text}` };
  if (body.status !== response.status) return { text: "another status inside" };
  if (/\\n\s+at |node_modules|\.ts:/.test(text)) return { text: `a stack: ${text}` };
  return { code: body.code, detail: body.detail };
}
