// The command or curl line that does the same as an action, for the page to show.
import type { ModelFrame } from "./frame.ts";

/** What the page may ask for; actions.ts checks it. */
export type Action =
  | { do: "place"; models: string[] }
  | { do: "burst"; models: string[]; count: number }
  | { do: "steady"; models: string[]; per_minute: number }
  | { do: "kill" | "restart" | "pause" | "resume"; model: string; service: string }
  | { do: "faults"; model: string; service: string; faults: Record<string, number | boolean> }
  | { do: "broker"; model: string; what: "kill" | "restart" | "pause" | "resume" }
  | { do: "poison" | "again"; model: string }
  | { do: "network"; model: string; fault: string }
  | { do: "without"; model: string; names: string[] }
  | { do: "letter"; model: string; queue: string; which: string; body?: string }
  | { do: "replay" }
  | { do: "predict"; step: string; answer: number }
  | { do: "export" }
  | { do: "heal" };

const JSON_TYPE = "-H 'content-type: application/json'";
const ORDER = `${JSON_TYPE} -d '{"user_id":"u1","items":[{"sku":"burger","qty":1}]}'`;

/** `name` is the model's on the command line. */
export function commandOf(
  action: Action,
  frames: readonly ModelFrame[],
  names: Record<string, string>,
): string {
  const frame = "model" in action ? frames.find(({ model }) => model === action.model) : undefined;
  const name = frame === undefined ? "" : (names[frame.model] ?? "");
  const service =
    "service" in action ? frame?.services.find((one) => one.name === action.service) : undefined;
  const pid = service?.pid ?? "PID";
  const orders = ("models" in action ? action.models : [])
    .flatMap((model) => frames.find((one) => one.model === model)?.services[0]?.url ?? [])
    .map((url) => `curl ${url}/order ${ORDER}`);
  switch (action.do) {
    case "place":
      return orders.join("\n");
    case "burst":
      return orders
        .map((line) => `for n in $(seq ${action.count}); do ${line} & done; wait`)
        .join("\n");
    case "steady":
      return action.per_minute === 0
        ? "stop the loop"
        : orders
            .map((line) => `while sleep ${(60 / action.per_minute).toFixed(2)}; do ${line} & done`)
            .join("\n");
    case "kill":
      return `kill -9 ${pid}`;
    case "restart":
      return `scripts/lab up ${name}`;
    case "pause":
      return `kill -STOP ${pid}`;
    case "resume":
      return `kill -CONT ${pid}`;
    case "faults":
      return `curl -X PUT ${service?.url}/faults ${JSON_TYPE} -d '${JSON.stringify(action.faults)}'`;
    case "broker":
      return brokerCommand(action.what, frame, name);
    case "poison":
      return frame?.broker === undefined
        ? `curl ${frame?.services[0]?.url}/order ${JSON_TYPE} -d 'not an order'`
        : frame.broker.name === "kafka"
          ? `echo 'not an order' | kafka ConsoleProducer --topic ${frame.logs[0]?.topic}`
          : `curl $RABBIT/exchanges/%2F/amq.default/publish ${JSON_TYPE} -d '{"properties":{},"routing_key":"inventory.order-placed","payload":"not an order","payload_encoding":"string"}'`;
    case "again":
      return frame?.broker === undefined
        ? `curl ${frame?.services[0]?.url}/order -H 'idempotency-key: KEY' ${ORDER}    # twice, with one key`
        : `# the newest event of ${frame.services[0]?.name}'s outbox, published again: ${frame.model}/README.md, "By hand"`;
    case "network":
      return "scripts/lab proxy    # toxiproxy's API; the callers are started again with the proxy's address";
    case "without":
      return action.names.length === 0
        ? `scripts/lab up ${name}    # after kill -9 of its services`
        : `LAB_WITHOUT=${action.names.join(",")} scripts/lab up ${name}    # after kill -9 of its services`;
    case "letter":
      if (frame?.broker?.name === "kafka") return letterCommand(action, frame);
      return action.body === undefined
        ? `scripts/lab dlq replay ${action.queue.split(".")[0]} ${action.which}`
        : `scripts/lab dlq replay ${action.queue.split(".")[0]} ${action.which} --body FILE`;
    case "replay":
      return "scripts/lab replay";
    case "predict":
      return "scripts/lab run NAME    # the assignment's experiments, at full length";
    case "export":
      return "scripts/lab report RUN    # with the folder that is named here";
    case "heal":
      return "scripts/lab up all    # and PUT /faults with {} at each service";
  }
}

function brokerCommand(what: string, frame: ModelFrame | undefined, name: string): string {
  const isDocker = frame?.broker?.kind === "compose";
  const docker = { kill: "kill", restart: "start", pause: "pause", resume: "unpause" }[what];
  if (what === "restart") return `scripts/lab up ${name}`;
  if (isDocker) return `docker ${docker} CONTAINER`;
  const signal = { kill: "-9", pause: "-STOP", resume: "-CONT" }[what];
  return `kill ${signal} PID    # of ${frame?.broker?.name}, as scripts/lab status shows it`;
}

/** A log keeps its dead letter: its body is written again to where it was read. */
function letterCommand({ which }: { which: string }, frame: ModelFrame): string {
  return `# the body of ${which} in the dead topic, or a repaired one\nkafka ConsoleProducer --topic ${frame.logs[0]?.topic} < FILE`;
}

/** `2 s slower`, `fails 5 %`, `hangs`, `throttled`. */
export function faultText(fault: string, value: number | boolean): string {
  switch (fault) {
    case "delay_ms":
      return `${Number(value) / 1_000} s slower`;
    case "fail_rate":
      return `fails ${Math.round(Number(value) * 100)} %`;
    case "throttle_ms":
      return `throttled ${value} ms`;
    default:
      return "hangs";
  }
}
