import {
  FormatRegistry,
  Kind,
  OptionalKind,
  type Static,
  type TObject,
  type TProperties,
  type TSchema,
  Type,
  TypeRegistry,
} from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";

/** Where a service listens and keeps its file, with its own defaults. */
export function serviceKnobs(defaults: { port: number; database: string }) {
  return {
    /** Loopback unless somebody asks for more. Not `host`: many a shell has a HOST, the machine's name. */
    listenHost: Type.Unsafe<string>({
      [Kind]: "Host",
      type: "string",
      description: "a host's name or address",
      default: "127.0.0.1",
    }),
    /** 0 takes a free port. */
    port: Type.Integer({ minimum: 0, maximum: 65535, default: defaults.port }),
    /** A shell may have a DATABASE of another kind, and then all services would have one file. */
    database: Type.String({ pattern: "\\.sqlite$", default: defaults.database }),
    logLevel: Type.Union(
      [Type.Literal("debug"), Type.Literal("info"), Type.Literal("warn"), Type.Literal("error")],
      { default: "info" },
    ),
  };
}

/** A host as it stands in a URL. */
export function hostInUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/** No pattern says which numbers and colons are an address; a URL can be made of no others. */
TypeRegistry.Set(
  "Host",
  (_, value) =>
    typeof value === "string" &&
    /^[\w.:-]+$/.test(value) &&
    URL.canParse(`http://${hostInUrl(value)}`),
);

/**
 * No pattern says either which hosts and ports can be ones. Where nothing may be given, nothing is right.
 * Elysia has a format "url" of its own, which would take this one's place.
 */
FormatRegistry.Set("parsable-url", (text) => text === "" || URL.canParse(text));
FormatRegistry.Set(
  "host-ports",
  (text) => text === "" || text.split(",").every((one) => URL.canParse(`tcp://${one}`)),
);

/** The address of a neighbour. */
export function HttpUrl(address: string) {
  return Type.String({
    pattern: "^https?://[^\\s/]+$",
    format: "parsable-url",
    default: address,
    description: "http://host:port",
  });
}

/** The environment variable of a knob: `inventoryTimeoutMs` is `INVENTORY_TIMEOUT_MS`. */
export function variableName(knob: string): string {
  return knob.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/**
 * Reads a configuration from the environment, an empty variable being unset.
 * Throws one error that names every variable that is wrong.
 */
export function readEnv<P extends TProperties>(
  schema: TObject<P>,
  env: Record<string, string | undefined>,
): Static<TObject<P>> {
  const config: Record<string, unknown> = {};
  const wrong: string[] = [];
  for (const [knob, knobSchema] of Object.entries(schema.properties)) {
    const variable = variableName(knob);
    const text = env[variable]?.trim();
    const value = text === undefined || text === "" ? knobSchema.default : parse(knobSchema, text);
    if (value === undefined) {
      if (OptionalKind in knobSchema) continue;
      wrong.push(`${variable} is not set`);
      continue;
    }
    const error = Value.Errors(knobSchema, value).First();
    if (error) {
      const wanted = knobSchema["description"] ?? wordsOf(knobSchema).join(" or ");
      const expected = wanted ? `expected ${wanted}` : error.message.toLowerCase();
      wrong.push(`${variable}=${JSON.stringify(withoutSecret(text ?? ""))}: ${expected}`);
    }
    config[knob] = value;
  }
  if (wrong.length > 0) {
    throw new ConfigError(`bad environment:\n${wrong.map((line) => `  ${line}`).join("\n")}`);
  }
  return config as Static<TObject<P>>;
}

/** What the text of a variable means to that schema; the text itself, or NaN, where it means nothing. */
function parse(schema: TSchema, text: string): unknown {
  // Convert takes the 1 of 1e3 and of 1.5 for an integer.
  if (schema["type"] === "integer" || schema["type"] === "number") return Number(text);
  if (schema["type"] === "boolean") return Value.Convert(schema, text);
  const word = text.toLowerCase();
  return wordsOf(schema).includes(word) ? word : text;
}

/** The words of a union of them. */
function wordsOf(schema: TSchema): string[] {
  return ((schema["anyOf"] ?? []) as { const: string }[]).map((one) => one.const);
}

/** A URL's user and password are nobody's business. */
function withoutSecret(text: string): string {
  return text.replace(/^(\w+:\/*)?.*@/s, "$1***@");
}

/** The environment does not give a usable configuration. */
export class ConfigError extends Error {}
