import { type Static, type TObject, type TProperties, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { validated } from "@lab/evidence/evidence";

/** From the client to the server, or from the server to the client. */
const Stream = Type.Union([Type.Literal("upstream"), Type.Literal("downstream")]);
export type Stream = Static<typeof Stream>;

const ms = Type.Integer({ minimum: 0, default: 0 });
const strictly = <P extends TProperties>(properties: P) =>
  Type.Object(properties, { additionalProperties: false, default: {} });

/** The kinds of toxiproxy and their attributes; times in ms. */
const ATTRIBUTES = {
  /** Everything arrives `latency` ± `jitter` later. */
  latency: strictly({ latency: ms, jitter: ms }),
  /** Limits the rate, in KB/s. */
  bandwidth: strictly({ rate: Type.Integer({ minimum: 1, default: 1 }) }),
  /** Drops all data; the connection is closed after `timeout`, 0 is never. */
  timeout: strictly({ timeout: ms }),
  /** Drops the next data, and after `timeout` both sides get an RST. */
  reset_peer: strictly({ timeout: ms }),
  /** Passes that many bytes, then closes the connection. */
  limit_data: strictly({ bytes: Type.Integer({ minimum: 0, default: 0 }) }),
  /** Delays the end of the connection by `delay`. */
  slow_close: strictly({ delay: ms }),
};
type Attributes = typeof ATTRIBUTES;
type ToxicType = keyof Attributes;

/** A network fault on one direction of a proxy's connections. */
export type Toxic = {
  [T in ToxicType]: {
    name: string;
    type: T;
    stream: Stream;
    /** The share of connections that it affects, 0 to 1. */
    toxicity: number;
    attributes: Static<Attributes[T]>;
  };
}[ToxicType];

/** A toxic as requested: omitted properties have toxiproxy's defaults. */
export type ToxicRequest = {
  [T in ToxicType]: {
    name?: string;
    type: T;
    stream?: Stream;
    toxicity?: number;
    attributes?: Partial<Static<Attributes[T]>>;
  };
}[ToxicType];

/** The complete toxic for a request. Throws an error that names every invalid property. */
export function toxicOf(request: unknown): Toxic {
  const type = (request as { type?: unknown } | null)?.type;
  const known = typeof type === "string" && Object.hasOwn(ATTRIBUTES, type);
  const schema = strictly({
    type: Type.Union(Object.keys(ATTRIBUTES).map((one) => Type.Literal(one))),
    stream: Type.Optional(Stream),
    name: Type.Optional(Type.String({ minLength: 1 })),
    toxicity: Type.Number({ minimum: 0, maximum: 1, default: 1 }),
    attributes: known ? (ATTRIBUTES[type as ToxicType] as TObject) : Type.Unknown(),
  });
  const whole = validated("the toxic", schema, Value.Default(schema, structuredClone(request)));
  const { stream = "downstream" } = whole;
  return { ...whole, stream, name: whole.name ?? `${whole.type}_${stream}` } as Toxic;
}
