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

/** Every environment variable that the lab itself reads; those of its services are in the services' files. */
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
  /** The same bounds as those of the seeds of services' faults. */
  labSeed: Type.Integer({ minimum: 0, maximum: 2 ** 31 - 1, default: 1 }),
  labLength: Type.Union([Type.Literal("short"), Type.Literal("full"), Type.Literal("long")], {
    default: "full",
  }),
  labOutageS: Type.Optional(Type.Integer({ minimum: 1, maximum: 3_600 })),
  labStormMinutes: Type.Optional(Type.Number({ minimum: 0.1, maximum: 1_440 })),
  labNamespace: Type.String({ pattern: "^[\\w.-]{0,100}$", default: "" }),
  orderPort: Port,
  inventoryPort: Port,
  notificationPort: Port,
  analyticsPort: Port,
  // Passed from one process of the lab to another.
  labRabbitmqFolder: Text,
  labKafkaFolder: Text,
  labLiveS: Type.Optional(Type.Number({ exclusiveMinimum: 0 })),
});

/**
 * The settings that the environment has now. Throws a ConfigError that lists every variable that is
 * wrong.
 */
export function settings(): Static<typeof Settings> {
  return readEnv(Settings, process.env);
}

/** The value for LAB_LENGTH: `full` is what is published; `short` and `long` make fewer and more rounds and orders. */
export function byLength<T>({ short, full, long = full }: { short: T; full: T; long?: T }): T {
  return { short, full, long }[settings().labLength];
}

/** Seconds for which Inventory is away in backlog-drain. */
export function outageS(): number {
  return settings().labOutageS ?? byLength({ short: 10, full: 60 });
}

/** How long a storm rages. */
export function stormMinutes(): number {
  return settings().labStormMinutes ?? byLength({ short: 0.5, full: 2 });
}

/**
 * The lab calls only this machine, never through the proxy that the shell may configure: Bun's
 * fetch would use that. (Of the two spellings Bun reads the lower-case one first.)
 */
export function bypassProxy(): void {
  for (const name of ["no_proxy", "NO_PROXY"]) {
    const others = process.env[name] ? [process.env[name]] : [];
    process.env[name] = [...others, "127.0.0.1", "localhost"].join(",");
  }
}
