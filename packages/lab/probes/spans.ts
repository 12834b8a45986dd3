/** The spans of services: from their logs, and as a receiver of OTLP gets them. */
import { readFileSync } from "node:fs";

export interface SeenSpan {
  service: string;
  trace_id: string;
  span_id: string;
  parent_id: string | undefined;
  kind: string;
  name: string;
  /** Undefined while it has not ended. */
  outcome: "ok" | "error" | undefined;
  attributes: Record<string, unknown>;
  began_us: number;
  ended_us: number | undefined;
  /** Trace ids of the spans that it is linked with. A log doesn't tell them. */
  links: string[];
}

type SpanLine = SeenSpan & { at_us: number; event: string; order_id?: string };

/** The spans in logs, in the order of their beginning. */
export function loggedSpans(logFiles: readonly string[]): SeenSpan[] {
  const spans = new Map<string, SeenSpan>();
  for (const line of logFiles.flatMap((file) => readFileSync(file, "utf8").split("\n"))) {
    if (!/"event":"span_(begun|ended)"/.test(line)) continue;
    const { at_us, event, order_id, ...said } = JSON.parse(line) as SpanLine;
    if (event === "span_begun") {
      const { kind, name, parent_id, service, span_id, trace_id } = said;
      spans.set(span_id, {
        service,
        trace_id,
        span_id,
        parent_id,
        kind,
        name,
        outcome: undefined,
        attributes: { ...said.attributes, ...(order_id !== undefined && { order_id }) },
        began_us: at_us,
        ended_us: undefined,
        links: [],
      });
    } else {
      const span = spans.get(said.span_id)!;
      Object.assign(span.attributes, said.attributes);
      Object.assign(span, { outcome: said.outcome, ended_us: at_us });
    }
  }
  return [...spans.values()].toSorted((a, b) => a.began_us - b.began_us);
}

interface OtlpValue {
  stringValue?: string;
  boolValue?: boolean;
  intValue?: number | string;
}

interface OtlpAttribute {
  key: string;
  value: OtlpValue;
}

interface OtlpSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes: OtlpAttribute[];
  status: { code: number };
  links: { traceId: string }[];
}

interface OtlpRequest {
  resourceSpans: {
    resource: { attributes: OtlpAttribute[] };
    scopeSpans: { spans: OtlpSpan[] }[];
  }[];
}

/** By their number in OTLP. */
const KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"];
const ERROR = 2;

/** A receiver of OTLP over HTTP as JSON, on a free port. */
export function receiveSpans() {
  const spans: SeenSpan[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    routes: {
      "/v1/traces": {
        async POST(request) {
          const { resourceSpans } = (await request.json()) as OtlpRequest;
          for (const { resource, scopeSpans } of resourceSpans) {
            const service = String(plain(resource.attributes)["service.name"]);
            spans.push(...scopeSpans.flatMap((one) => one.spans).map(seenOf(service)));
          }
          return Response.json({});
        },
      },
    },
    fetch: () => new Response("", { status: 404 }),
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    spans,
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

function seenOf(service: string): (span: OtlpSpan) => SeenSpan {
  return (span) => ({
    service,
    trace_id: span.traceId,
    span_id: span.spanId,
    parent_id: span.parentSpanId || undefined,
    kind: KINDS[span.kind]!,
    name: span.name,
    outcome: span.status.code === ERROR ? "error" : "ok",
    attributes: plain(span.attributes),
    began_us: Number(BigInt(span.startTimeUnixNano) / 1_000n),
    ended_us: Number(BigInt(span.endTimeUnixNano) / 1_000n),
    links: span.links.map(({ traceId }) => traceId),
  });
}

function plain(attributes: readonly OtlpAttribute[]): Record<string, unknown> {
  return Object.fromEntries(
    attributes.map(({ key, value }) => [
      key,
      value.stringValue ?? value.boolValue ?? Number(value.intValue),
    ]),
  );
}

/** One line a span, indented below its parent: `  producer send orders:order.placed`. */
export function spanTree(spans: readonly SeenSpan[], parent?: string, depth = 0): string[] {
  const ids = new Set(spans.map(({ span_id }) => span_id));
  const isHere = ({ parent_id }: SeenSpan) =>
    parent === undefined ? !ids.has(parent_id ?? "") : parent_id === parent;
  return spans
    .filter(isHere)
    .toSorted((a, b) => lineOf(a).localeCompare(lineOf(b)))
    .flatMap((span) => [
      `${"  ".repeat(depth)}${lineOf(span)}`,
      ...spanTree(spans, span.span_id, depth + 1),
    ]);
}

function lineOf({ kind, name, service }: SeenSpan): string {
  return `${kind} ${name}, ${service}`;
}
