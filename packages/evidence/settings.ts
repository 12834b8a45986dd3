import { readEnv } from "@lab/runtime/env";
import { type Static, Type } from "@sinclair/typebox";

const Port = Type.Optional(Type.Integer({ minimum: 1, maximum: 65535 }));
const HttpUrl = Type.String({
  pattern: "^(https?://[^\\s/]+/?)?$",
  format: "parsable-url",
  default: "",
  description: "http://host:port",
});
const Text = Type.String({ default: "" });

/** Everything that the lab itself takes from the environment; what is for its services stands in their own files. */
export const Settings = Type.Object({
  amqpUrl: Type.String({
    pattern: "^(amqps?://[^\\s]+)?$",
    format: "parsable-url",
    default: "",
    description: "amqp://user:password@host:port",
  }),
  kafkaBrokers: Type.String({
    pattern: "^([^\\s:,]+:\\d+(,[^\\s:,]+:\\d+)*)?$",
    format: "host-ports",
    default: "",
    description: "host:port, with commas between",
  }),
  rabbitmqManagementUrl: HttpUrl,
  analyticsUrl: HttpUrl,
  labBrokers: Type.String({
    pattern: "^((external|compose|native)(,(external|compose|native))*)?$",
    default: "",
    description: "external, compose or native",
  }),
  labServices: Type.Union([Type.Literal("native"), Type.Literal("compose")], { default: "native" }),
  labInstall: Type.Union([Type.Literal("yes"), Type.Literal("no")], { default: "yes" }),
  labRunDir: Text,
  /** Those of services' faults. */
  labSeed: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, default: 1 }),
  labLong: Type.Union([Type.Literal("on"), Type.Literal("off")], { default: "off" }),
  labOutageS: Type.Integer({ minimum: 1, maximum: 3_600, default: 60 }),

  labStormMinutes: Type.Number({ minimum: 0.1, maximum: 1_440, default: 2 }),
  labNamespace: Type.String({ pattern: "^[\\w.-]{0,100}$", default: "" }),
  orderPort: Port,
  inventoryPort: Port,
  notificationPort: Port,
  analyticsPort: Port,
  // What one process of the lab tells another.
  labRabbitmqFolder: Text,
  labKafkaFolder: Text,
  labLiveS: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
});

/** What the environment says now. Throws a ConfigError that lists every variable that is wrong. */
export function settings(): Static<typeof Settings> {
  return readEnv(Settings, process.env);
}

/**
 * What the lab calls is on this machine, and never behind the proxy that the shell may name: Bun's fetch
 * would send the call there. (Of the two names Bun heeds the small one first.)
 */
export function bypassProxy(): void {
  for (const name of ["no_proxy", "NO_PROXY"]) {
    const others = process.env[name] ? [process.env[name]] : [];
    process.env[name] = [...others, "127.0.0.1", "localhost"].join(",");
  }
}
