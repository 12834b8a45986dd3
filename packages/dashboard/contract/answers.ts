/** What the server answers when the page asks for one thing. */
import type { Model } from "@lab/evidence/evidence";

/** A stretch of an order's time. */
export interface Stretch {
  service: string;
  name: string;
  kind: "work" | "wait" | "call";
  from_ms: number;
  /** Null where it is still under way. */
  to_ms: number | null;
  /** Its process ended before it did, at about `to_ms`: the process's last sign of life. */
  cut?: true;
  outcome?: string;
  /** Nesting, from 0. */
  depth: number;
}

/** A moment. */
export interface Mark {
  service: string;
  what: string;
  at_ms: number;
}

export interface Timeline {
  model: Model;
  order_id: string;
  stretches: Stretch[];
  marks: Mark[];
}

/** A dead letter on the page. */
export interface Letter {
  queue: string;
  /** By which it is replayed: its position in the queue, or `partition/offset`. */
  which: string;
  reason: string;
  detail: string;
  died_at: string | null;
  /** Null where it isn't recorded. */
  attempts: number | null;
  body: string;
  /** Whether the body is text, to be edited. */
  editable: boolean;
}
