import { type Static, type TObject, type TProperties, Type } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";

/** Where a service listens and keeps its file, with its own defaults. */
export function serviceKnobs(defaults: { port: number; database: string }) {
  return {
    /** Loopback unless somebody asks for more. */
    host: Type.String({ minLength: 1, default: "127.0.0.1" }),
    /** 0 takes a free port. */
    port: Type.Integer({ minimum: 0, maximum: 65535, default: defaults.port }),
    database: Type.String({ minLength: 1, default: defaults.database }),
    logLevel: Type.Union(
      [Type.Literal("debug"), Type.Literal("info"), Type.Literal("warn"), Type.Literal("error")],
      { default: "info" },
    ),
  };
}

/** The address of a neighbour. */
export function HttpUrl(address: string) {
  return Type.String({ pattern: "^https?://[^\\s/]+$", default: address });
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
    const text = env[variable];
    const value =
      text === undefined || text === "" ? knobSchema.default : Value.Convert(knobSchema, text);
    if (value === undefined) {
      wrong.push(`${variable} is not set`);
      continue;
    }
    const error = Value.Errors(knobSchema, value).First();
    if (error) {
      wrong.push(
        `${variable}=${JSON.stringify(withoutSecret(text ?? ""))}: ${error.message.toLowerCase()}`,
      );
    }
    config[knob] = value;
  }
  if (wrong.length > 0) {
    throw new ConfigError(`bad environment:\n${wrong.map((line) => `  ${line}`).join("\n")}`);
  }
  return config as Static<TObject<P>>;
}

/** A URL's user and password are nobody's business. */
function withoutSecret(text: string): string {
  return text.replace(/\/\/.*@/, "//***@").replace(/^[^/]*@/, "***@");
}

/** The environment does not give a usable configuration. */
export class ConfigError extends Error {}
