/** Which of the errors around Kafka may pass, which need an operator, and which are bugs. */
import { Problem } from "@lab/contracts/problem";
import { reasonOf } from "@lab/runtime/log";
import { isTransient } from "@lab/runtime/transient";

/** A condition that blocks progress until an operator removes it. */
export class BlockingError extends Error {
  override name = "BlockingError";
  readonly graceMs: number;

  /** For `graceMs` it may still pass by itself. */
  constructor(message: string, graceMs = 0) {
    super(message);
    this.graceMs = graceMs;
  }
}

/** The innermost cause of an error. */
export function rootOf(error: unknown): Error & { type?: string; retriable?: boolean } {
  const { cause, errors } = error as { cause?: unknown; errors?: { type?: string }[] };
  // The errors of topics to be created: usually some exist already.
  const inner = errors?.find(({ type }) => type !== "TOPIC_ALREADY_EXISTS") ?? errors?.[0] ?? cause;
  return inner instanceof Error ? rootOf(inner) : (error as Error);
}

/** The error's text, for a log and for `/health`, with Kafka's error type where it has one. */
export function describeError(error: unknown): string {
  const root = rootOf(error);
  if (root instanceof BlockingError) return root.message;
  return root.type === undefined ? reasonOf(root) : `${root.type}: ${root.message}`;
}

/** Whether the error comes neither from Kafka, the network or the database, nor is an injected failure. */
export function isBug(error: unknown): boolean {
  const root = rootOf(error);
  if (isTransient(root) || root instanceof BlockingError || root instanceof Problem) return false;
  if (/^(Type|Range|Reference|Syntax|SQLite)Error$/.test(root.name)) return true;
  // Network errors have a code.
  return !root.name.startsWith("KafkaJS") && !("code" in root);
}

/** Errors that never pass by themselves. */
const PERMANENT =
  /AUTHORIZATION|AUTHENTICATION|UNSUPPORTED|NOT_SUPPORT|^INVALID_(TOPIC|CONFIG|GROUP_ID|PARTITIONS|SESSION)|POLICY|INCONSISTENT|TOO_LARGE|SASL|NotImplemented/;

/**
 * How long other errors that Kafka marks as not retriable may last: a starting broker returns some,
 * such as that a group has no coordinator.
 */
const FINAL_MS = 60_000;

/** How long the error may last before it counts as permanent, in ms: 0, Infinity, or a value between. */
export function gracePeriodOf(error: unknown): number {
  const root = rootOf(error);
  if (root instanceof BlockingError) return root.graceMs;
  if (PERMANENT.test(root.type ?? root.name)) return 0;
  return root.retriable === false ? FINAL_MS : Number.POSITIVE_INFINITY;
}

/** After these kafkajs rejoins its group. */
const MEMBERSHIP = [
  "REBALANCE_IN_PROGRESS",
  "ILLEGAL_GENERATION",
  "UNKNOWN_MEMBER_ID",
  "FENCED_INSTANCE_ID",
  "NOT_COORDINATOR_FOR_GROUP",
  "GROUP_COORDINATOR_NOT_AVAILABLE",
  "GROUP_LOAD_IN_PROGRESS",
];

/** Whether the error concerns a single partition, so that the others needn't wait for it. */
export function isPartitionError(error: unknown): boolean {
  const { name, type } = rootOf(error);
  return type === undefined ? name === "KafkaJSMetadataNotLoaded" : !MEMBERSHIP.includes(type);
}
