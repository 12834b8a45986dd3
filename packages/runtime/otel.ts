/**
 * Exports spans through OpenTelemetry's libraries, to the receiver that OTEL_EXPORTER_OTLP_ENDPOINT
 * names. Nothing else imports them: where that isn't set, they aren't loaded.
 */
import { type Link, ROOT_CONTEXT, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, TracerProvider } from "@opentelemetry/sdk-trace";
import { exportSpansTo, type Span } from "./trace.ts";

const KINDS: Record<Span["kind"], SpanKind> = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
  internal: SpanKind.INTERNAL,
};

/** How long a stop waits for a receiver that may hang. */
const FLUSH_MS = 3_000;

/**
 * Exports every span that ends from now on, in batches. Returns what sends the rest, and ends the
 * export. The libraries read the receiver's address, and any header that it wants, from the
 * environment variables that OpenTelemetry's specification names.
 */
export function startExport(service: string): () => Promise<void> {
  // The ids are those of the `traceparent` that the next hop got, not the library's own.
  let ids = { traceId: "", spanId: "" };
  const provider = new TracerProvider({
    resource: resourceFromAttributes({ "service.name": service }),
    idGenerator: { generateTraceId: () => ids.traceId, generateSpanId: () => ids.spanId },
    spanProcessors: [
      new BatchSpanProcessor({ exporter: new OTLPTraceExporter(), scheduledDelayMillis: 1_000 }),
    ],
  });
  const tracer = provider.getTracer("campus-food-lab");
  exportSpansTo((span) => {
    ids = span;
    const { attributes, beganUs, endedUs, kind, link, name, orderId } = span;
    const exported = tracer.startSpan(
      name,
      {
        kind: KINDS[kind],
        startTime: timeOf(beganUs),
        attributes: { ...attributes, ...(orderId && { order_id: orderId }) },
        links: link === undefined ? [] : [linkTo(link)],
      },
      parentOf(span),
    );
    const error = attributes["error.type"];
    if (error !== undefined) {
      exported.setStatus({ code: SpanStatusCode.ERROR, message: String(error) });
    }
    exported.end(timeOf(endedUs));
  });
  return () => Promise.race([provider.shutdown(), Bun.sleep(FLUSH_MS)]);
}

function parentOf({ parentId, traceId }: Span) {
  if (parentId === undefined) return ROOT_CONTEXT;
  const parent = { traceId, spanId: parentId, traceFlags: 1, isRemote: true };
  return trace.setSpanContext(ROOT_CONTEXT, parent);
}

function linkTo(traceparent: string): Link {
  const [, traceId = "", spanId = "", flags = ""] = traceparent.split("-");
  return { context: { traceId, spanId, traceFlags: Number.parseInt(flags, 16), isRemote: true } };
}

/** Seconds, and nanoseconds beyond them. */
function timeOf(us: number): [number, number] {
  return [Math.floor(us / 1_000_000), (us % 1_000_000) * 1_000];
}
