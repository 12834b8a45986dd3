import "./production.ts";
import {
  Problem,
  type ProblemBody,
  ProblemBody as ProblemSchema,
  problemBody,
} from "@lab/contracts/problem";
import { Kind, type TSchema } from "@sinclair/typebox";
import type { ValueError } from "@sinclair/typebox/compiler";
import { type AnyElysia, Elysia } from "elysia";
import { Bodies } from "./bodies.ts";
import type { ApiDocument } from "./docs-page.ts";
import { type Faults, FaultSettings } from "../faults.ts";
import { type Health, healthAnswer } from "../health.ts";
import { MAX_IN_FLIGHT } from "../limits.ts";
import { type Log, reasonOf } from "../log.ts";
import { isTransient } from "../transient.ts";
import { beginRequest, endRequest, noteOrder } from "./spans.ts";

/** A request must have arrived within this time: an incomplete one is held no longer. */
const ARRIVAL_S = 10;
/**
 * A connection counts as idle while its handler runs. 255 s is the longest idle timeout that Bun
 * accepts; an injected hang that lasts longer is cut off then.
 */
const HANDLER_S = 255;

const PROBLEM_TYPE = "application/problem+json";

export interface AppOptions {
  /** The model's name, for the title of `/openapi`. */
  model: string;
  faults: Faults;
  log: Log;
  health: () => Health;
}

/**
 * The HTTP server that every service starts from: JSON bodies of bounded size, unknown properties
 * refused, every error as problem+json, `/openapi`, `/health`, and `/faults` where faults are on
 * (404 otherwise).
 */
export function createApp(service: string, { model, faults, log, health }: AppOptions) {
  const app = new Elysia({
    name: service,
    // With `true` Elysia strips unknown properties instead of refusing them.
    normalize: false,
    // A host may be a single label, such as the name of a container.
    handler: { standardHostname: false },
    serve: {
      // For a body that doesn't arrive in time, and for an unused connection. For the request's
      // head Bun has its own limit of 10 s.
      idleTimeout: ARRIVAL_S,
      // Bun's own answer to larger bodies has no body, and resets most clients before they read it.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    },
  });
  const bodies = new Bodies();
  const arrived = new WeakMap<Request, Uint8Array>();
  let inFlight = 0;
  app
    .wrap((handle) => async (request: Request) => {
      // Set for each request: the connection may have served another before.
      app.server?.timeout(request, request.body ? ARRIVAL_S : HANDLER_S);
      if (!hasRightHost(request)) {
        return answer(new Problem("bad_request", "the Host header names no host"), request);
      }
      // For every method and path: an unread body would stay in the buffers, and the client might
      // never read the answer.
      if (request.body) {
        try {
          arrived.set(request, await bodies.read(request));
        } catch (error) {
          return answer(error as Problem, request);
        }
        app.server?.timeout(request, HANDLER_S);
      }
      // Reads are cheap and never refused: /health tells overloaded from dead.
      if (request.method === "GET") return handle(request);
      // Before anything is stored.
      if (inFlight >= MAX_IN_FLIGHT) return answer(overloaded(), request);
      inFlight += 1;
      beginRequest(log, request);
      try {
        // May be a promise, although its type doesn't say so.
        const response = (await Promise.resolve(handle(request))) as unknown as Response;
        endRequest(request, response);
        return response;
      } finally {
        inFlight -= 1;
      }
    })
    .guard({
      as: "global",
      parse: [
        // Elysia cuts the content type at its first semicolon; a space may precede that.
        ({ request }, contentType) => parseJson(arrived.get(request), contentType.trimEnd()),
        // Never used to parse: it only declares JSON bodies for /openapi.
        "json",
      ],
    })
    .onAfterHandle({ as: "global" }, ({ request, responseValue, set }) => {
      noteOrder(request, responseValue);
      const next = nextPage(request, responseValue);
      if (next !== undefined) set.headers["link"] = `<${next}>; rel="next"`;
    })
    .onError({ as: "global" }, ({ code, error, request }) => {
      const problem = toProblem(code, error, () => allowedMethods(app.routes, request));
      if (problem.status >= 500 && !(unwrapped(error) instanceof Problem)) {
        const { method, url } = request;
        log.error("request_failed", { method, url, reason: reasonOf(error) });
      }
      return answer(problem, request);
    });
  const docs = docsOf(app, `${service} of ${model}`);
  return app
    .get("/openapi", docs)
    .get("/openapi/json", docs)
    .get("/health", ({ status }) => {
      const { code, body } = healthAnswer(service, health);
      return status(code, body);
    })
    .use(faults.enabled ? faultRoutes(faults, log) : new Elysia());
}

/** Answers `/openapi` and `/openapi/json` for all routes of the app. Made for the first who asks: it would take a fifth of each start. */
function docsOf(app: AnyElysia, title: string) {
  let docs: Promise<AnyElysia> | undefined;
  return async ({ request }: { request: Request }) => {
    docs ??= import("@elysiajs/openapi").then(({ openapi }) => {
      const info = {
        title,
        version: "1.0.0",
        description: "Part of the campus food ordering lab.",
      };
      const components = { schemas: { Problem: ProblemSchema as never } };
      // Its routes take the place of those that lead here. Its own pages need the network.
      return new Elysia().use(app).use(
        openapi({
          provider: null,
          exclude: { paths: ["/openapi"] },
          documentation: { info, components },
        }),
      );
    });
    const { origin, pathname } = addressOf(request);
    const document = await (await docs).handle(new Request(`${origin}/openapi/json`));
    if (pathname.endsWith("/json")) return document;
    const { docsPage } = await import("./docs-page.ts");
    return docsPage((await document.json()) as ApiDocument, origin);
  };
}

function faultRoutes(faults: Faults, log: Log) {
  return new Elysia({ normalize: false })
    .get("/faults", () => ({ ...faults.settings, struck: faults.struck }))
    .put(
      "/faults",
      ({ body }) => {
        faults.set(body);
        log.warn("faults_set", body);
        return faults.settings;
      },
      {
        body: FaultSettings,
        // Without this, defaults would turn a missing body into "all off".
        transform({ body }) {
          if (!body) throw new Problem("invalid_request", "body: Expected object");
        },
      },
    );
}

/** The URL of the next page (RFC 8288), if the answer is a page and not the last. */
function nextPage(request: Request, answer: unknown): string | undefined {
  const after = (answer as { next_after?: string } | null | undefined)?.next_after;
  if (after === undefined) return undefined;
  const { pathname, searchParams } = addressOf(request);
  searchParams.set("after", after);
  return `${pathname}?${searchParams.toString()}`;
}

/**
 * Whether the request's URL can be parsed. A missing Host is valid in HTTP/1.0, and Bun refuses it
 * in 1.1; an invalid one would change the path of the URL.
 */
function hasRightHost({ headers, url }: Request): boolean {
  const host = headers.get("host");
  // CONNECT has a host instead of a path.
  if (!/^(https?:\/)?\//.test(url)) return false;
  if (!host) return true;
  return /^([\w.~-]+|\[[\da-f:.]+\])(:\d{0,5})?$/i.test(host) && URL.canParse(url);
}

/** The URL of a request, also where its host is missing or invalid. */
function addressOf({ url }: Request): URL {
  return URL.parse(url, "http://localhost") ?? new URL("http://localhost");
}

function parseJson(bytes: Uint8Array | undefined, contentType: string): object | null {
  // A missing body is refused by the route's schema, where it requires one.
  if (!bytes?.length) return null;
  if (!/^application\/([\w.-]+\+)?json$/i.test(contentType)) {
    throw new Problem(
      "unsupported_media_type",
      `the content type is ${contentType || "not given"}`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch (error) {
    throw new Problem("malformed_json", (error as Error).message);
  }
  // A lone surrogate can't be stored unchanged; JSON.stringify escapes only those as \ud8… to
  // \udf…. After an escaped backslash the same characters are plain text.
  if (/(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(JSON.stringify(value))) {
    throw new Problem("invalid_request", "body: half of a surrogate pair");
  }
  // Elysia would turn null into an empty object where every property has a default.
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Problem("invalid_request", "body: Expected object");
  }
  // Elysia loses this property when it applies defaults, before it checks for unknown properties.
  if (Object.hasOwn(value, "__proto__")) {
    throw new Problem("invalid_request", "body/__proto__: Unexpected property");
  }
  return value;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

function overloaded(): Problem {
  return new Problem("overloaded", `there are ${MAX_IN_FLIGHT} requests already; try again`, {
    headers: { "retry-after": "1" },
  });
}

function toProblem(code: string | number, error: unknown, allowed: () => string[]): Problem {
  const cause = unwrapped(error);
  if (cause instanceof Problem) return cause;
  if (isTransient(cause)) {
    return new Problem("store_unavailable", "try again", { headers: { "retry-after": "1" } });
  }
  switch (code) {
    case "NOT_FOUND": {
      const methods = allowed();
      if (methods.length === 0) {
        return new Problem("not_found", "see /openapi for the paths");
      }
      return new Problem("method_not_allowed", `try ${methods.join(", ")}`, {
        headers: { allow: methods.join(", ") },
      });
    }
    case "PARSE":
      return new Problem("malformed_json", "the body is not JSON");
    case "VALIDATION":
    case "INVALID_COOKIE_SIGNATURE":
      return validationProblem(error);
    default:
      return new Problem("internal_error", "it was logged");
  }
}

/** The framework wraps an error that a parser threw. */
function unwrapped(error: unknown): unknown {
  return error instanceof Error ? (error.cause ?? error) : error;
}

function validationProblem(error: unknown): Problem {
  const { type, valueError } = error as { type?: string; valueError?: ValueError };
  // Our own answer violated its schema: not the client's fault.
  if (type === "response") {
    return new Problem("internal_error", "it was logged");
  }
  if (!valueError) {
    return new Problem("invalid_request", `the ${type ?? "request"} does not match its schema`);
  }
  // A number in a query is converted, then checked: the second error has no path, but its schema
  // has a title.
  const where =
    type === "property" ? `query/${valueError.schema.title}` : `${type}${valueError.path}`;
  return new Problem("invalid_request", `${where}: ${expectation(valueError)}`);
}

/** A description of the expected value, where TypeBox names only a kind or "union value". */
function expectation({ message, schema }: ValueError): string {
  if (schema[Kind] === "Text") {
    return `Expected 1 to ${schema["maxLength"]} characters, ${schema.description}`;
  }
  const any = schema["anyOf"] as TSchema[] | undefined;
  // Every query parameter arrives as text, so the alternative "string" of a numeric one says
  // nothing.
  const names = any
    ?.map(({ const: value, type }) => value ?? type)
    .filter((one) => one !== "string");
  return names ? `Expected ${names.join(" or ")}` : message;
}

/** The other methods that the app has at a path; empty for an unknown path. */
function allowedMethods(
  routes: readonly { method: string; path: string }[],
  request: Request,
): string[] {
  const { pathname } = addressOf(request);
  const methods = routes
    .filter(({ path }) => new RegExp(`^${path.replace(/:[^/]+/g, "[^/]+")}/?$`).test(pathname))
    .map(({ method }) => method)
    .filter((method) => method !== request.method);
  return [...new Set(methods)];
}

function answer(problem: Problem, request: Request): Response {
  const body: ProblemBody = problemBody(problem, addressOf(request).pathname);
  noteOrder(request, body);
  return new Response(JSON.stringify(body), {
    status: problem.status,
    headers: {
      "content-type": PROBLEM_TYPE,
      ...problem.headers,
    },
  });
}
