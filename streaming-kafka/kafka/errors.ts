/** Which of the errors that come up around Kafka pass by waiting, which need somebody, and which are bugs. */
import { Problem } from "@lab/contracts/problem";
import { reasonOf } from "@lab/runtime/log";
import { isTransient } from "@lab/runtime/transient";

/** Something that stands in the way until somebody takes it out. */
export class Hindrance extends Error {
  override name = "Hindrance";
  readonly patienceMs: number;

  /** For so long it may be one that passes by itself. */
  constructor(message: string, patienceMs = 0) {
    super(message);
    this.patienceMs = patienceMs;
  }
}

/** The error that the others were wrapped around. */
export function rootOf(error: unknown): Error & { type?: string; retriable?: boolean } {
  const { cause, errors } = error as { cause?: unknown; errors?: { type?: string }[] };
  // Of topics that were to be created: some are there already, as a rule.
  const inner = errors?.find(({ type }) => type !== "TOPIC_ALREADY_EXISTS") ?? errors?.[0] ?? cause;
  return inner instanceof Error ? rootOf(inner) : (error as Error);
}

/** What it says, for a log and for `/health`, in Kafka's own terms where it is Kafka's. */
export function wordsOf(error: unknown): string {
  const root = rootOf(error);
  if (root instanceof Hindrance) return root.message;
  return root.type === undefined ? reasonOf(root) : `${root.type}: ${root.message}`;
}

/** Whether it is nobody's word: neither Kafka's, nor the network's, nor the database's, nor an injected failure. */
export function isBug(error: unknown): boolean {
  const root = rootOf(error);
  if (isTransient(root) || root instanceof Hindrance || root instanceof Problem) return false;
  if (/^(Type|Range|Reference|Syntax|SQLite)Error$/.test(root.name)) return true;
  // The network's errors have a code.
  return !root.name.startsWith("KafkaJS") && !("code" in root);
}

/** No waiting makes these good. */
const PERMANENT =
  /AUTHORIZATION|AUTHENTICATION|UNSUPPORTED|NOT_SUPPORT|^INVALID_(TOPIC|CONFIG|GROUP_ID|PARTITIONS|SESSION)|POLICY|INCONSISTENT|TOO_LARGE|SASL|NotImplemented/;

/** So long others that call themselves final may last: a broker that starts says such things, as that a group has no coordinator. */
const FINAL_MS = 60_000;

/** How long it may last until it is clear that it doesn't pass: 0, or for ever, or something between. */
export function patienceOf(error: unknown): number {
  const root = rootOf(error);
  if (root instanceof Hindrance) return root.patienceMs;
  if (PERMANENT.test(root.type ?? root.name)) return 0;
  return root.retriable === false ? FINAL_MS : Number.POSITIVE_INFINITY;
}

/** Upon these kafkajs joins its group again. */
const MEMBERSHIP = [
  "REBALANCE_IN_PROGRESS",
  "ILLEGAL_GENERATION",
  "UNKNOWN_MEMBER_ID",
  "FENCED_INSTANCE_ID",
  "NOT_COORDINATOR_FOR_GROUP",
  "GROUP_COORDINATOR_NOT_AVAILABLE",
  "GROUP_LOAD_IN_PROGRESS",
];

/** Whether it is of one partition's work, and the others needn't wait for it. */
export function standsStill(error: unknown): boolean {
  const { name, type } = rootOf(error);
  return type === undefined ? name === "KafkaJSMetadataNotLoaded" : !MEMBERSHIP.includes(type);
}
