import {
  FormatRegistry,
  OptionalKind,
  type Static,
  type TObject,
  type TProperties,
  type TSchema,
  Type,
} from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";

/** The address on which a service listens and its database file, with its own defaults. */
export function serviceKnobs(defaults: { port: number; database: string }) {
  return {
    /** Loopback by default. Not named `host`: many shells set HOST to the machine's name. */
    listenHost: Type.String({
      format: "listen-host",
      description: "a host's name or address",
      default: "127.0.0.1",
    }),
    /** 0 takes a free port. */
    port: Type.Integer({ minimum: 0, maximum: 65535, default: defaults.port }),
    /**
     * The shell may have a DATABASE that means something else; then all services would use the same
     * file.
     */
    database: Type.String({ pattern: "\\.sqlite$", default: defaults.database }),
    logLevel: Type.Union(
      [Type.Literal("debug"), Type.Literal("info"), Type.Literal("warn"), Type.Literal("error")],
      { default: "info" },
    ),
    /** Where spans are exported to; empty: nowhere. */
    otelExporterOtlpEndpoint: Type.String({
      pattern: "^(https?://\\S+)?$",
      format: "parsable-url",
      default: "",
      description: "http://host:port",
    }),
  };
}

/** A host in the form that a URL needs. */
export function hostInUrl(host: string): string {
  return host.includes(":") ? `[${host}]` : host;
}

/**
 * A pattern can't tell which hosts and ports are valid; the URL parser can. The empty text is valid
 * for addresses that are optional. Not named "url": Elysia's own format of that name would replace
 * this one.
 */
FormatRegistry.Set(
  "listen-host",
  (text) => /^[\w.:-]+$/.test(text) && URL.canParse(`http://${hostInUrl(text)}`),
);
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

/** The environment variable of a setting: `inventoryTimeoutMs` is `INVENTORY_TIMEOUT_MS`. */
export function variableName(knob: string): string {
  return knob.replace(/[A-Z]/g, (letter) => `_${letter}`).toUpperCase();
}

/**
 * Reads a configuration from the environment; an empty variable counts as unset. Throws one error
 * that names every variable that is wrong.
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
      const wanted = knobSchema["description"] ?? literalsOf(knobSchema).join(" or ");
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

/**
 * The value of a variable's text under that schema; the text itself, or NaN, where it can't be
 * converted.
 */
function parse(schema: TSchema, text: string): unknown {
  // Convert would read the 1 of 1e3 and of 1.5 as an integer.
  if (schema["type"] === "integer" || schema["type"] === "number") return Number(text);
  if (schema["type"] === "boolean") return Value.Convert(schema, text);
  const word = text.toLowerCase();
  return literalsOf(schema).includes(word) ? word : text;
}

/** The literals of a union. */
function literalsOf(schema: TSchema): string[] {
  return ((schema["anyOf"] ?? []) as { const: string }[]).map((one) => one.const);
}

/** The URL without its user and password, which must not be shown. */
function withoutSecret(text: string): string {
  return text.replace(/^(\w+:\/*)?.*@/s, "$1***@");
}

/** The environment does not give a usable configuration. */
export class ConfigError extends Error {}
