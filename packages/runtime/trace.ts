/** A `traceparent` (W3C Trace Context) as this lab passes it on. */
const PATTERN = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** The `traceparent` of a new span in the caller's trace, or of the first span of a new trace. */
export function childTrace(parent: string | null | undefined): string {
  const traceId = parent && PATTERN.test(parent) ? parent.slice(3, 35) : hex(16);
  return `00-${traceId}-${hex(8)}-01`;
}

function hex(bytes: number): string {
  return crypto.getRandomValues(new Uint8Array(bytes)).toHex();
}
