/** Letters that others have made, with whatever they like in them. */
import { encodeEvent, newEvent } from "@lab/contracts/events";
import { newId } from "@lab/contracts/ids";
import { DeadLetters, letterText } from "@lab/lab/probes/dead-letters";
import { experiment } from "@lab/lab/experiment/experiment";
import { repoFolder } from "@lab/evidence/folders";
import { Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";
import { trialOf } from "@lab/lab/experiment/trial";
import { eventually } from "@lab/lab/host/waiting";
import type { Options } from "amqplib";
import { deadQueue, topology } from "../../topology.ts";
import { BROKER } from "../model.ts";

const QUEUE = "inventory.order-placed";
/** Terminal control: clear the screen, set the window title, C1 CSI, bidi override. */
const TERMINAL_CONTROL = "\x1b[2J\x1b]0;mine\x07\x9b31m\u202egnp\u2066";

/** A table that can't be made a number or a text. */
const TABLE = { toString: "mine", valueOf: "mine" };
/** A table with the key "!", which amqplib takes for a type of its own when it is written again. */
const UNWRITABLE = { mark: { "!": "object", value: { "!": "important" } } };

const HEADERS: Record<string, unknown>[] = [
  { "x-death": {} },
  { "x-death": 5 },
  { "x-death": TERMINAL_CONTROL },
  { "x-death": true },
  { "x-death": [] },
  { "x-death": [1, "a", null, [], {}] },
  { "x-death": [{ reason: 5, count: "x", queue: {}, time: { "!": "timestamp", value: 9e15 } }] },
  { "x-death": [{ reason: TERMINAL_CONTROL, count: -3, time: 7 }] },
  { "x-death": Buffer.from([0, 255]) },
  // RabbitMQ would raise this count to 3.0, which it can't encode.
  {
    "x-death": [{ queue: QUEUE, reason: "rejected", count: { "!": "double", value: 2 } }],
  },
  { "x-death": [{ count: TABLE, time: { value: TABLE } }], "x-delivery-count": TABLE },
  { "dead-at": "today", "dead-attempts": TABLE, "dead-reason": "odd", "dead-detail": TABLE },
  { "x-death": [1], ...UNWRITABLE },
  { "dead-at": TERMINAL_CONTROL, "dead-reason": TERMINAL_CONTROL, "dead-attempts": "many" },
  {
    [TERMINAL_CONTROL]: TERMINAL_CONTROL,
    in: { depth: [{ of: TERMINAL_CONTROL }] },
    bin: Buffer.from(TERMINAL_CONTROL),
  },
  { when: { "!": "timestamp", value: 1 }, float: { "!": "float", value: 1.5 }, none: null },
  { huge: "x".repeat(60_000) },
];
const BODIES = [
  "",
  TERMINAL_CONTROL,
  `{"type":"${TERMINAL_CONTROL}"}`,
  Buffer.from([0xff, 0x1b, 0x5b]),
];
const LETTERS: { body: string | Uint8Array; options: Options.Publish }[] = [
  ...HEADERS.map((headers) => ({ body: "{}", options: { headers } })),
  ...BODIES.map((body) => ({ body, options: {} })),
  { body: new Uint8Array(16 * 1024 * 1024), options: {} },
  {
    body: "{}",
    options: { messageId: TERMINAL_CONTROL, type: TERMINAL_CONTROL, appId: TERMINAL_CONTROL },
  },
];

experiment(
  {
    name: "odd-letters",
    model: "async-rabbitmq",
    question:
      "Dead letters have anything in them that AMQP can carry: are they seen, and removable?",
    method: `${LETTERS.length} letters with odd headers, ids and bodies, first put into a dead queue, then sent to Inventory. Each is listed, shown and deleted by itself, with \`scripts/lab dlq\` too.`,
    disproof:
      "A letter that isn't shown, or can't be deleted alone; a control character on the terminal; a message that never gets to the dead queue.",
    requirements: [],
    parameters: { letters: LETTERS.length },
  },
  async (run) => {
    // Such a letter may stop dead-lettering in the whole broker.
    await using broker = await run.ownBroker("rabbitmq");
    await using trial = await trialOf(run, "odd", { broker });
    const { namespace } = trial;
    await using rabbit = new Rabbitmq(broker);
    await using dead = await DeadLetters.open(broker.address, namespace, BROKER);
    const { inventoryQueue } = topology(namespace);
    const dlq = async (...words: string[]) => {
      const child = Bun.spawn([process.execPath, "scripts/lab.ts", "dlq", ...words], {
        cwd: repoFolder,
        env: { ...process.env, AMQP_URL: broker.address, LAB_NAMESPACE: namespace },
        stderr: "pipe",
      });
      const [out, error] = await Promise.all([child.stdout.text(), child.stderr.text()]);
      return {
        code: await child.exited,
        lines: out.trimEnd().split("\n").length,
        out: out + error,
      };
    };

    for (const queue of [deadQueue(inventoryQueue), inventoryQueue]) {
      run.progress(`to ${queue}`);
      for (const { body, options } of LETTERS) await rabbit.put(queue, body, options);
      const letters = await eventually("all are dead", async () => {
        const list = await dead.list(QUEUE);
        if (list.length !== LETTERS.length) throw new Error(`${list.length} letters`);
        return list;
      });
      const listed = await dlq("list");
      const json = await dlq("list", "--json");
      run.holds("each is listed", [listed.code, listed.lines], [0, 1 + LETTERS.length]);
      run.holds("as JSON too", (JSON.parse(json.out) as unknown[]).length, LETTERS.length);
      const shown = [listed.out, json.out, ...letters.map((letter) => letterText(letter))];
      run.holds(
        "nothing steers the terminal",
        shown.filter((text) => /[^\P{C}\n\t]/u.test(text)),
        [],
      );
      const odd = await dlq("purge", "inventory", "2");
      run.holds("one is deleted by itself", [odd.code, odd.lines], [0, 1]);
      for (let left = LETTERS.length - 1; left > 0; left--) await dead.purge(QUEUE, left);
      run.holds("none is left", await dead.list(QUEUE), []);
    }

    run.progress("one is put back");
    await rabbit.put(deadQueue(inventoryQueue), goodEvent(), { headers: UNWRITABLE });
    const replayed = await dlq("replay", "inventory", "all");
    run.holds("what can't be written again is put back without it", replayed.code, 0);
    run.holds("and is no dead letter any more", await dead.list(QUEUE), []);
  },
);

function goodEvent(): string {
  const items = [{ sku: "burger", qty: 1 }];
  const data = { order_id: newId(), user_id: "u1", kitchen: "main", items };
  return encodeEvent(newEvent("OrderPlaced", "test", data));
}
