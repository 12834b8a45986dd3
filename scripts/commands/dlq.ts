import { addressOf } from "@lab/lab/brokers/brokers";
import {
  type DeadLetter,
  DeadLetters,
  letterText,
  textOf,
  type Which,
} from "@lab/lab/probes/dead-letters";
import { textTable } from "@lab/lab/host/text-table";
import { printable, printableJson } from "@lab/runtime/printable";
import { BROKER } from "../../async-rabbitmq/tests/model.ts";
import { type Command, type Input, unknown, UsageError } from "../command.ts";
import { namespaceOf } from "../up/environment.ts";

const queues = Object.keys(BROKER.queues);

/** What an action needs, and which options it has. */
const ACTIONS: Record<
  string,
  {
    options: string[];
    /** Parses the arguments after the action, and returns what to do with the letters. */
    plan(words: string[], options: Input["options"]): Plan;
  }
> = {
  list: { options: ["json"], plan: planList },
  show: { options: ["json", "raw"], plan: planShow },
  replay: { options: ["body"], plan: planReplay },
  purge: { options: [], plan: planPurge },
};

type Plan = (letters: DeadLetters) => Promise<void>;

export const command: Command = {
  summary: "RabbitMQ's dead letters: see why, repair, put back",
  usage: `${Object.keys(ACTIONS).join("|")} [QUEUE] [WHICH]`,
  details: `  list [QUEUE]            the dead letters of one queue or of all, and why they are dead
  show QUEUE WHICH        one of them with its headers and its body
  replay QUEUE WHICH|all  puts it back on the queue that it came from
  purge QUEUE WHICH|all   deletes it for good

QUEUE is ${queues.join(", ")}, or as much
of it as is clear: inventory, notification, order. WHICH is a position as list shows it, or a
message id. A letter that would die again isn't put back: repair its body.

  scripts/lab dlq show inventory 1 --raw > event.json
  scripts/lab dlq replay inventory 1 --body event.json

The broker is the one of scripts/lab up, or of AMQP_URL; so is the queues' prefix, or LAB_NAMESPACE.`,
  options: {
    json: { type: "boolean", summary: "list, show: as JSON" },
    raw: { type: "boolean", summary: "show: the body alone, byte for byte" },
    body: {
      type: "string",
      summary: "replay: the file with the repaired body, - for standard input",
    },
  },
  async run({ options, words }) {
    const [name = "", ...rest] = words;
    const action = Object.hasOwn(ACTIONS, name) ? ACTIONS[name] : undefined;
    if (action === undefined) {
      const known = Object.keys(ACTIONS);
      throw new UsageError(
        name === "" ? `what is to be done: ${known.join(", ")}?` : unknown("action", name, known),
      );
    }
    for (const option of Object.keys(options)) {
      if (!action.options.includes(option)) {
        throw new UsageError(`dlq ${name} has no --${option}`);
      }
    }
    const plan = action.plan(rest, options);
    const { address } = await addressOf("rabbitmq");
    await using letters = await DeadLetters.open(
      address,
      await namespaceOf("async-rabbitmq"),
      BROKER,
    );
    await plan(letters);
    return 0;
  },
};

function planList(words: string[], { json }: Input["options"]): Plan {
  const wanted = words.length === 0 ? queues : [queueOf(words[0])];
  forbidMore(words, 1);
  return async (letters) => {
    const all: DeadLetter[] = [];
    for (const queue of wanted) all.push(...(await letters.list(queue)));
    if (json) {
      console.log(printableJson(all.map(withoutBody), 2));
    } else {
      console.log(all.length === 0 ? "no dead letters" : tableOf(all));
    }
  };
}

function planShow(words: string[], { json, raw }: Input["options"]): Plan {
  const { queue, which } = target(words);
  if (which === "all") throw new UsageError("show takes one letter");
  if (json && raw) throw new UsageError("either --json or --raw");
  return async (letters) => {
    const letter = await letters.find(queue, which);
    if (raw) await Bun.write(Bun.stdout, letter.body);
    else if (json) console.log(printableJson(withBody(letter), 2));
    else console.log(letterText(letter));
  };
}

function planReplay(words: string[], { body }: Input["options"]): Plan {
  const { queue, which } = target(words);
  if (body !== undefined && which === "all") {
    throw new UsageError("--body repairs one letter, not all of them");
  }
  return async (letters) => {
    const repaired = body === undefined ? undefined : await read(String(body));
    const replayed = await letters.replay(queue, which, repaired);
    for (const one of replayed) {
      console.log(`put back on ${queue}: ${nameOf(one)}`);
    }
    const left = which === "all" ? (await letters.list(queue)).length : 0;
    if (left > 0) {
      console.log(`left where they are, since they would die again: ${left}`);
    } else if (replayed.length === 0) console.log("no dead letters");
  };
}

function planPurge(words: string[]): Plan {
  const { queue, which } = target(words);
  return async (letters) => {
    const purged = await letters.purge(queue, which);
    for (const one of purged) console.log(`deleted: ${nameOf(one)}`);
    if (purged.length === 0) console.log("no dead letters");
  };
}

function target(words: string[]): { queue: string; which: Which } {
  const queue = queueOf(words[0]);
  const word = words[1];
  if (word === undefined) {
    throw new UsageError("which letter: a position, a message id or all?");
  }
  forbidMore(words, 2);
  return { queue, which: /^\d+$/.test(word) ? Number(word) : word };
}

function queueOf(word: string | undefined): string {
  if (!word) throw new UsageError(`of which queue: ${queues.join(", ")}?`);
  const name = word.replace(/\.dead$/, "");
  const found = queues.find((queue) => queue === name || queue.startsWith(`${name}.`));
  if (found === undefined) {
    throw new UsageError(
      unknown("queue", word, [...queues, ...queues.map((queue) => queue.split(".")[0]!)]),
    );
  }
  return found;
}

function forbidMore(words: string[], most: number): void {
  const more = words.slice(most);
  if (more.length > 0) throw new UsageError(`too many words: ${more.join(" ")}`);
}

async function read(path: string): Promise<Uint8Array> {
  const file = path === "-" ? Bun.stdin : Bun.file(path);
  try {
    return await file.bytes();
  } catch (error) {
    throw new Error(`can't read ${path}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}

function nameOf({ message_id: id, position, reason }: DeadLetter): string {
  return printable(`${id ?? `position ${position}`} (${reason})`);
}

function withoutBody(letter: DeadLetter): object {
  return Object.fromEntries(Object.entries(letter).filter(([name]) => name !== "body"));
}

/** The body as text, or in base64 where it isn't UTF-8. */
function withBody(letter: DeadLetter) {
  const text = textOf(letter.body);
  return {
    ...withoutBody(letter),
    ...(text === undefined ? { body_base64: letter.body.toString("base64") } : { body: text }),
  };
}

function tableOf(letters: DeadLetter[]): string {
  const heads = ["queue", "#", "message id", "reason", "tries", "bytes", "detail"];
  const lines = [
    heads,
    ...letters.map((one) => [
      one.queue,
      String(one.position),
      one.message_id ?? "none",
      one.reason,
      String(one.attempts),
      String(one.size_bytes),
      one.detail,
    ]),
  ].map((line) => line.map((cell) => printable(cell)));
  return textTable(lines).join("\n");
}
