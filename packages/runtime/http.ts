import "./production.ts";
import { openapi } from "@elysiajs/openapi";
import {
  Problem,
  type ProblemBody,
  ProblemBody as ProblemSchema,
  problemBody,
} from "@lab/contracts/problem";
import { Elysia } from "elysia";
import { type Faults, FaultSettings } from "./faults.ts";
import { type Health, healthAnswer } from "./health.ts";
import { type Log, reasonOf } from "./log.ts";
import { mayPass } from "./patience.ts";

/** The largest request body, in bytes. */
const MAX_BODY_BYTES = 64 * 1024;

/**
 * Requests that may be worked on at once. Each holds its body and waits for a commit: without a
 * limit memory would grow with the load. More than share one commit gain nothing.
 */
const MAX_IN_FLIGHT = 1000;
/** And requests whose bodies are on their way: slow clients, too, can hold no more than 640 MB. */
const MAX_ARRIVING = 10_000;

/** A request must have arrived within this time: half of one is held for no longer. */
const ARRIVAL_S = 10;
/** A handler that runs counts as idle. 255 s is the longest idle timeout that Bun takes; a hang that was asked for may be longer, and is cut then. */
const HANDLER_S = 255;

const PROBLEM_TYPE = "application/problem+json";

export interface AppOptions {
  /** Which of the three this is, for the title of `/openapi`. */
  model: string;
  faults: Faults;
  log: Log;
  health: () => Health;
}

/**
 * What every service's HTTP side needs: bodies that are JSON of a bounded
 * size, unknown properties refused, every error as problem+json, `/openapi`,
 * `/health`, and `/faults` where faults are on (404 otherwise).
 */
export function createApp(service: string, { model, faults, log, health }: AppOptions) {
  const app = new Elysia({
    name: service,
    // With it Elysia strips unknown properties in place of refusing them.
    normalize: false,
    serve: {
      // For a body that doesn't arrive, however slowly it comes, and for a connection that nobody
      // uses. Bun has 10 s of its own for the head.
      idleTimeout: ARRIVAL_S,
      // Larger bodies get their problem+json from `readJson`; this is only a backstop.
      maxRequestBodySize: 256 * MAX_BODY_BYTES,
    },
  });
  let inFlight = 0;
  let arriving = 0;
  app
    // Looking is cheap and never refused: /health tells overloaded from dead.
    .wrap((handle) => async (request: Request) => {
      // Anew for each: the connection may have had a request before.
      app.server?.timeout(request, request.body ? ARRIVAL_S : HANDLER_S);
      if (request.method === "GET") return handle(request);
      // Before its body is read, so surely before anything is stored.
      if (inFlight >= MAX_IN_FLIGHT) {
        return answer(overloaded(MAX_IN_FLIGHT), new URL(request.url).pathname);
      }
      inFlight += 1;
      try {
        // May be a promise, though its type says that it is none.
        return await Promise.resolve(handle(request));
      } finally {
        inFlight -= 1;
      }
    })
    .onParse({ as: "global" }, async ({ request, contentType }) => {
      if (arriving >= MAX_ARRIVING) throw overloaded(MAX_ARRIVING);
      // Who sends slowly takes nobody's place meanwhile.
      inFlight -= 1;
      arriving += 1;
      try {
        const body = await readJson(request, contentType);
        if (inFlight >= MAX_IN_FLIGHT) throw overloaded(MAX_IN_FLIGHT);
        app.server?.timeout(request, HANDLER_S);
        return body;
      } finally {
        arriving -= 1;
        inFlight += 1;
      }
    })
    .onError({ as: "global" }, ({ code, error, request }) => {
      const problem = toProblem(code, error, () =>
        allowedMethods(app.routes, new URL(request.url).pathname),
      );
      if (problem.status >= 500 && !(unwrapped(error) instanceof Problem)) {
        const { method, url } = request;
        log.error("request_failed", { method, url, reason: reasonOf(error) });
      }
      return answer(problem, new URL(request.url).pathname);
    });
  return app
    .use(
      openapi({
        path: "/openapi",
        documentation: {
          info: {
            title: `${service} of ${model}`,
            version: "1.0.0",
            description: "Part of the campus food ordering lab.",
          },
          components: { schemas: { Problem: ProblemSchema as never } },
        },
      }),
    )
    .get("/health", ({ status }) => {
      const { code, body } = healthAnswer(service, health);
      return status(code, body);
    })
    .use(faults.enabled ? faultRoutes(faults, log) : new Elysia());
}

function faultRoutes(faults: Faults, log: Log) {
  return new Elysia({ normalize: false })
    .get("/faults", () => faults.settings)
    .put(
      "/faults",
      ({ body }) => {
        faults.set(body);
        log.warn("faults_set", body);
        return faults.settings;
      },
      { body: FaultSettings },
    );
}

async function readJson(request: Request, contentType: string): Promise<unknown> {
  // No body is for the route's schema to refuse, where it wants one.
  if (!request.body) return undefined;
  if (!/^application\/([\w.-]+\+)?json$/i.test(contentType)) {
    throw new Problem(
      "unsupported_media_type",
      `the content type is ${contentType || "not given"}`,
    );
  }
  const bytes = await readBytes(request);
  let value: unknown;
  try {
    value = JSON.parse(utf8.decode(bytes));
  } catch (error) {
    throw new Problem("malformed_json", (error as Error).message);
  }
  // Half of a surrogate pair can't be stored as it came; JSON escapes only those. After an escaped backslash it's mere text.
  if (/(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(JSON.stringify(value))) {
    throw new Problem("invalid_request", "body: half of a surrogate pair");
  }
  // Elysia would make an empty object of null where every property has a default.
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new Problem("invalid_request", "body: Expected object");
  }
  return value;
}

const utf8 = new TextDecoder("utf-8", { fatal: true });

async function readBytes(request: Request): Promise<Uint8Array> {
  const length = request.headers.get("content-length");
  if (length !== null) {
    if (Number(length) > MAX_BODY_BYTES) throw tooLarge(`${length} bytes`);
    return request.bytes();
  }
  // Chunked: the length is known only at its end, so it is counted on the way.
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of request.body ?? []) {
    size += chunk.length;
    if (size > MAX_BODY_BYTES) throw tooLarge("a chunked body");
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}

function tooLarge(what: string): Problem {
  return new Problem("body_too_large", `${what}, at most ${MAX_BODY_BYTES} bytes`);
}

function overloaded(most: number): Problem {
  return new Problem("overloaded", `there are ${most} requests already; try again`, {
    headers: { "retry-after": "1" },
  });
}

function toProblem(code: string | number, error: unknown, allowed: () => string[]): Problem {
  const cause = unwrapped(error);
  if (cause instanceof Problem) return cause;
  if (mayPass(cause)) {
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

/** An error that a parser threw is wrapped by the framework. */
function unwrapped(error: unknown): unknown {
  return error instanceof Error ? (error.cause ?? error) : error;
}

function validationProblem(error: unknown): Problem {
  const { type, valueError } = error as {
    type?: string;
    valueError?: { path: string; message: string };
  };
  // Our own answer broke its schema: no fault of the client's.
  if (type === "response") {
    return new Problem("internal_error", "it was logged");
  }
  return new Problem(
    "invalid_request",
    valueError
      ? `${type}${valueError.path}: ${valueError.message}`
      : `the ${type ?? "request"} does not match its schema`,
  );
}

/** The methods that the app has at a path, an empty list for an unknown path. */
function allowedMethods(
  routes: readonly { method: string; path: string }[],
  pathname: string,
): string[] {
  const methods = routes
    .filter(({ path }) => new RegExp(`^${path.replace(/:[^/]+/g, "[^/]+")}/?$`).test(pathname))
    .map(({ method }) => method);
  return [...new Set(methods)];
}

function answer(problem: Problem, instance: string): Response {
  const body: ProblemBody = problemBody(problem, instance);
  return new Response(JSON.stringify(body), {
    status: problem.status,
    headers: {
      "content-type": PROBLEM_TYPE,
      ...problem.headers,
    },
  });
}
