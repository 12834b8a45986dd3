import { decodeEvent, type EventType, newEvent } from "@lab/contracts/events";
import { newId } from "@lab/contracts/ids";
import { type PlaceOrder, repeatedSku } from "@lab/contracts/order";
import { PROBLEMS } from "@lab/contracts/problem";
import { Value } from "@sinclair/typebox/value";
import fc from "fast-check";
import { nearlyAnOrder } from "@lab/lab/experiment/bad-input";
import { complaint, type InputTable, type JsonRoute } from "@lab/lab/experiment/bad-requests";
import type { Model } from "@lab/evidence/evidence";
import { byLength } from "@lab/evidence/settings";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { closedLoop, latencies, type LoadResult, post } from "@lab/lab/load/load";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { goodAnswers } from "../answers.ts";
import { judge, keepOrdering, PATIENT, RATE_PER_S } from "../common.ts";
import { sample } from "@lab/lab/host/waiting";
import { holdsBounded, memoryMib, MOST_MEMORY_MIB } from "./memory.ts";
import { type Held, hold, rawAnswer } from "./raw-connections.ts";

/** Requests and messages that are generated. */
const GENERATED = byLength({ short: 300, full: 10_000 });
const IDLE = 1_000;
/** More than a service works on at once. */
const SLOW = 1_500;
/** With 63 KiB of a body each, more than a service's container has; some in chunks. */
const STALLED = 3_000;
const STALLED_IN_CHUNKS = 1_000;
const STALLED_BYTES = 63 * 1024;
const HALF_OPEN = 300;
const REPEATS = 100;
const LANES = 20;

/** A queue or topic, and what may be in it. */
interface Source {
  name: string;
  types: readonly EventType[];
}

export interface HostilePlan {
  model: Model;
  input: InputTable;
  /** What only LAB_FAULTS=on has, beside /faults: service, method and path. */
  hidden?: ["downstream", string, string][];
  /** Where messages come from; none where the services call each other. */
  sources?: (trial: Trial) => Source[];
  /** Writes messages there as they are. */
  put?: (trial: Trial, source: string, messages: Buffer[]) => Promise<void>;
  /** What would be wrong with a bad one, for the disproof. */
  badMessage?: string;
  /** How many of them must be found in dead queues or topics, and how many are. */
  dead?: (
    trial: Trial,
    sent: ReadonlyMap<string, Buffer[]>,
  ) => Promise<[must: number, are: number]>;
  /** How many of the others must be found in a reader's log, and how many are. */
  passedOver?: (
    trial: Trial,
    sent: ReadonlyMap<string, Buffer[]>,
  ) => Promise<[must: number, are: number]>;
}

interface Wave {
  kind: string;
  sent: number;
  answers: Record<string, number>;
  /** Answers that are none of those that it may get. */
  wrong: string[];
}

/** Everything that a network may throw at a model, while honest orders flow. */
export function testHostileInput(plan: HostilePlan): void {
  experiment(
    {
      name: "hostile-input",
      model: plan.model,
      question: "Does bad input of every kind do harm to honest orders beside it?",
      method: `${RATE_PER_S} honest orders/s all along, LAB_FAULTS off. ${GENERATED} generated requests${plan.sources ? " and messages" : ""}; every bad request of the table; ${IDLE} idle connections, ${SLOW} slow bodies and ${HALF_OPEN} half-sent heads that are held open; ${STALLED + STALLED_IN_CHUNKS} bodies that stall at 63 KiB; floods of headers, hosts that are none, bodies that are too large or never end, bytes that are no HTTP. Every service's memory is sampled.`,
      disproof: `An honest order without its right answer and end. A service that ends. An answer of 5xx, or one that is no problem+json. A service over ${MOST_MEMORY_MIB} MiB.${plan.badMessage ? ` ${plan.badMessage}` : ""}`,
      requirements: [],
      parameters: { rate_per_s: RATE_PER_S, generated: GENERATED },
    },
    async (run) => {
      await using trial = await trialOf(run, "hostile", {
        env: { ...PATIENT, LAB_FAULTS: "off" },
      });
      const started = trial.campus.services.map(({ pid }) => pid);
      const { order, services } = trial.campus;
      const memory = services.map((service) => sample(() => memoryMib(service.pid)));
      // Before anything is timed: it takes seconds.
      const requests = generateRequests(run.seed, plan);
      const messages = generateMessages(run.seed, plan.sources?.(trial) ?? []);
      await using held = await holdOpen(order.url);
      const honest = keepOrdering(trial, RATE_PER_S);
      // The server cuts them after 10 s: by then honest orders have been answered beside all of them.
      await honest.more(RATE_PER_S);
      run.holds(
        `what is held open is open when ${RATE_PER_S} honest orders have been answered`,
        [held.idle.open, held.slow.open, held.halfOpen.open],
        [IDLE, SLOW, HALF_OPEN],
      );
      run.progress("generated requests and messages, and bodies that stall");
      const [answered, written, stalled] = await Promise.all([
        sendRequests(trial, requests),
        writeMessages(trial, plan, messages),
        stalledWaves(order.url),
      ]);
      const waves = [
        ...answered,
        ...written,
        ...stalled,
        await badRequests(trial, plan.input),
        await hidden(trial, plan),
        ...(await malformedRequests(order.url)),
      ];
      run.progress("what is held open is cut");
      waves.push(...(await heldWaves(held)));
      await Promise.all(memory.map((sampler) => sampler.stop()));
      holdsBounded(run, services, memory);
      const told = await honest.stop();
      conclude(run, waves, told, plan.model);
      const verdict = await judge(run, trial, { kills: 0, faults: 0 });
      run.holds("every order ended", verdict.lost, []);
      if (plan.dead) {
        const [must, are] = await plan.dead(trial, messages);
        run.figure("dead_letters", are);
        run.holds("every bad message that has a dead queue or topic is there", are, must);
      }
      if (plan.passedOver) {
        const [must, are] = await plan.passedOver(trial, messages);
        run.figure("passed_over", are);
        // One that is read again is noted again.
        run.holds("every other bad message is in its reader's log", are >= must, true);
      }
      run.holds(
        "no process ended",
        trial.campus.services.map(({ pid }) => pid),
        started,
      );
    },
  );
}

/** Sent all at once: the server waits seconds for the rest of each before it answers. */
const ENDLESS = "a body without an end";
const POST_ORDER = "POST /order HTTP/1.1\r\nhost: lab\r\ncontent-type: application/json\r\n";

function heldWaves({ idle, slow, halfOpen }: Awaited<ReturnType<typeof holdOpen>>) {
  return Promise.all([
    cutWave("idle connections", IDLE, idle),
    cutWave("slow bodies, after a good request", SLOW, slow),
    cutWave("heads without an end", HALF_OPEN, halfOpen),
  ]);
}

async function stalledWaves(url: string): Promise<Wave[]> {
  const part = " ".repeat(STALLED_BYTES);
  const told = `${POST_ORDER}content-length: ${64 * 1024}\r\n\r\n${part}`;
  const chunk = `${STALLED_BYTES.toString(16)}\r\n${part}\r\n`;
  const inChunks = `${POST_ORDER}transfer-encoding: chunked\r\n\r\n${chunk}`;
  const [one, other] = [
    await hold(url, STALLED, told),
    await hold(url, STALLED_IN_CHUNKS, inChunks),
  ];
  return Promise.all([
    cutWave("bodies that stall at 63 KiB", STALLED, one),
    cutWave("the same in chunks", STALLED_IN_CHUNKS, other),
  ]);
}

/** Waits until the server has cut all that is held open. */
async function cutWave(kind: string, sent: number, held: Held): Promise<Wave> {
  const answers = await held.cut();
  held.end();
  const wrong = Object.keys(answers).filter((how) => how !== "cut");
  if (answers["cut"] !== sent) wrong.push(`${answers["cut"] ?? 0} of ${sent} were cut`);
  return { kind, sent, answers, wrong };
}

async function holdOpen(url: string) {
  const head = POST_ORDER;
  const idle = await hold(url, IDLE, "");
  // After a good request over the same connection.
  const before = "GET /health HTTP/1.1\r\nhost: lab\r\n\r\n";
  const slow = await hold(url, SLOW, `${before}${head}content-length: 1000\r\n\r\n{`, " ");
  const halfOpen = await hold(url, HALF_OPEN, head, "x-more: 1\r\n");
  return {
    idle,
    slow,
    halfOpen,
    async [Symbol.asyncDispose]() {
      for (const one of [idle, slow, halfOpen]) one.end();
    },
  };
}

type Requests = { route: JsonRoute; bodies: unknown[] }[];

function generateRequests(seed: number, { input: { routes }, sources }: HostilePlan): Requests {
  const count = Math.round((GENERATED * (sources ? 0.6 : 1)) / routes.length);
  const nasty = NASTY.map((text) => JSON.parse(text) as unknown);
  const arbitrary = fc.oneof(
    { weight: 20, arbitrary: nearlyAnOrder() },
    { weight: 1, arbitrary: fc.constantFrom(...nasty) },
  );
  return routes.map((route) => {
    const bodies = fc
      .sample(arbitrary, { seed, numRuns: count * 2 })
      // A valid body is kept for POST /order alone, where it is an ordinary order. At another route it would have an effect without an order.
      .filter((body) => route.path === "/order" || !mayBeValid(route, body));
    return { route, bodies: bodies.slice(0, count) };
  });
}

async function sendRequests(trial: Trial, requests: Requests): Promise<Wave[]> {
  const waves: Wave[] = [];
  for (const { bodies, route } of requests) {
    const { path, service } = route;
    const url = `${trial.campus[service].url}${path}`;
    const wrong: string[] = [];
    const { answers } = await closedLoop({
      count: bodies.length,
      connections: LANES,
      async send(n) {
        const body = bodies[n];
        const outcome = await (path === "/order"
          ? trial.place(body as PlaceOrder)
          : post(url, body));
        if (outcome.kind === "ok" && !mayBeValid(route, body)) {
          wrong.push(`${outcome.status} for ${JSON.stringify(body).slice(0, 200)}`);
        }
        return outcome;
      },
    });
    wrong.push(...Object.keys(answers).filter((answer) => !isRefusal(answer)));
    waves.push({ kind: `generated, ${path}`, sent: bodies.length, answers, wrong });
  }
  return waves;
}

/** Whether the route's schema takes that body, as it arrives and with its defaults. */
function mayBeValid({ body: schema }: JsonRoute, body: unknown): boolean {
  const arrived: unknown = JSON.parse(JSON.stringify(body) ?? "null");
  const whole = Value.Default(schema, arrived);
  if (!Value.Check(schema, whole)) return false;
  const { items } = whole as Partial<PlaceOrder>;
  return items === undefined || repeatedSku(items) === undefined;
}

/** A success, which `mayBeValid` judges, or a refusal that says why. */
function isRefusal(answer: string): boolean {
  const [kind, status = "", code = ""] = answer.split(" ");
  if (kind === "ok") return true;
  return kind === "failed" && Number(status) < 500 && Object.hasOwn(PROBLEMS, code);
}

const deep = (open: string, close: string, depth: number) =>
  `${open.repeat(depth)}1${close.repeat(depth)}`;

/** JSON that is small, and hard on whoever reads it. */
const NASTY = [
  deep("[", "]", 10_000),
  `{"user_id":"u1","items":${deep("[", "]", 10_000)}}`,
  deep('{"a":', "}", 5_000),
  '{"__proto__":{"user_id":"u1"},"constructor":{"prototype":{}}}',
  '{"user_id":"u1","items":[{"sku":"burger","qty":1e999}]}',
  '{"user_id":"\\u0000","items":[{"sku":"\\u0000","qty":-0}]}',
  `{"${"k".repeat(60_000)}":1}`,
  `{"user_id":"u1","items":[${Array.from({ length: 2_000 }, () => "{}").join()}]}`,
];

/** By source. */
type Messages = Map<string, Buffer[]>;

function generateMessages(seed: number, sources: readonly Source[]): Messages {
  const count = Math.round((GENERATED * 0.4) / Math.max(1, sources.length));
  return new Map(
    sources.map(({ name, types }) => {
      const messages = fc
        .sample(nearlyAnEvent(), { seed, numRuns: count * 2 })
        .filter((bytes) => decodeEvent(bytes, types).kind === "invalid");
      return [name, messages.slice(0, count).map((bytes) => Buffer.from(bytes))];
    }),
  );
}

async function writeMessages(trial: Trial, plan: HostilePlan, messages: Messages): Promise<Wave[]> {
  const waves: Wave[] = [];
  for (const [name, bytes] of messages) {
    await plan.put?.(trial, name, bytes);
    const kind = `generated messages, ${name.replace(trial.namespace, "")}`;
    waves.push({ kind, sent: bytes.length, answers: {}, wrong: [] });
  }
  return waves;
}

/** Bytes, JSON, and events that are spoilt in one place. */
function nearlyAnEvent(): fc.Arbitrary<Uint8Array> {
  const text = (value: string) => Buffer.from(value);
  const event = newEvent("OrderPlaced", "order-service", {
    order_id: newId(),
    user_id: "u1",
    kitchen: "main",
    items: [{ sku: "burger", qty: 1 }],
  });
  const names = Object.keys(event) as (keyof typeof event)[];
  const spoilt = fc
    .tuple(fc.constantFrom(...names), fc.oneof(fc.jsonValue(), fc.constantFrom(...NASTY)))
    .map(([name, value]) => text(JSON.stringify({ ...event, [name]: value })));
  const cut = fc
    .integer({ min: 0, max: JSON.stringify(event).length - 1 })
    .map((end) => text(JSON.stringify(event).slice(0, end)));
  return fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.jsonValue().map((value) => text(JSON.stringify(value))),
    spoilt,
    cut,
    fc.constantFrom(...NASTY, `"${"x".repeat(200_000)}"`).map(text),
  );
}

async function badRequests({ campus }: Trial, { bad }: InputTable): Promise<Wave> {
  const wrong: string[] = [];
  let sent = 0;
  for (const role of ["order", "inventory", "downstream"] as const) {
    // Without LAB_FAULTS there is nothing at that path: see `hidden`.
    for (const request of bad[role].filter(({ path }) => path !== "/faults")) {
      sent += 1;
      const found = await complaint(campus[role].url, request);
      if (found) wrong.push(found);
    }
  }
  return { kind: "the table of bad requests", sent, answers: {}, wrong };
}

/** What exists only where LAB_FAULTS is on. */
async function hidden({ campus }: Trial, plan: HostilePlan): Promise<Wave> {
  const asked = [
    ...campus.services.flatMap(({ url }) => [
      ["GET", `${url}/faults`],
      ["PUT", `${url}/faults`],
    ]),
    ...(plan.hidden ?? []).map(([of, method, path]) => [method, `${campus[of].url}${path}`]),
  ] as [string, string][];
  const answers: Record<string, number> = {};
  for (const [method, url] of asked) {
    const body = method === "PUT" ? { body: '{"hang":true}' } : {};
    const headers = { "content-type": "application/json" };
    const { status } = await fetch(url, { method, headers, ...body });
    answers[status] = (answers[status] ?? 0) + 1;
  }
  const wrong = Object.keys(answers).filter((status) => status !== "404");
  return { kind: "faults and replay without LAB_FAULTS", sent: asked.length, answers, wrong };
}

/** Requests that no client library would send, each on a connection of its own. */
async function malformedRequests(url: string): Promise<Wave[]> {
  const head = POST_ORDER;
  const old = head.replace("HTTP/1.1\r\nhost: lab", "HTTP/1.0");
  const many = Array.from({ length: 2_000 }, (_, n) => `x-${n}: ${n}\r\n`).join("");
  const chunk = `10000\r\n${" ".repeat(65_536)}\r\n`;
  const tooLong = `content-length: 1000000\r\n\r\n${" ".repeat(1_000_000)}`;
  const waves: [kind: string, bytes: string, may: string[]][] = [
    // Who stops reading in the middle may cut the line before its answer is read.
    ["2,000 headers", `GET /health HTTP/1.1\r\nhost: lab\r\n${many}\r\n`, ["431", "cut"]],
    ["a header of 1 MB", `GET / HTTP/1.1\r\nx: ${"x".repeat(1_000_000)}\r\n\r\n`, ["431", "cut"]],
    ["a path of 1 MB", `GET /${"x".repeat(1_000_000)} HTTP/1.1\r\n\r\n`, ["431", "cut"]],
    ["a body of 1 MB", `${head}${tooLong}`, ["413", "cut"]],
    ["the same to no path", `${head.replace("/order", "/nope")}${tooLong}`, ["413", "cut"]],
    [ENDLESS, `${head}transfer-encoding: chunked\r\n\r\n${chunk.repeat(4)}`, ["413"]],
    ["two lengths", `${head}content-length: 1\r\ncontent-length: 2\r\n\r\n{}`, ["400"]],
    [
      "a length and chunks",
      `${head}content-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      ["400"],
    ],
    ["no host", `${head.replace("host: lab\r\n", "")}content-length: 2\r\n\r\n{}`, ["400"]],
    ["no host in HTTP/1.0", `${old}content-length: 2\r\n\r\n{}`, ["422"]],
    ["an empty host", "GET /nope HTTP/1.1\r\nhost:\r\n\r\n", ["404"]],
    ["a host that is none", "GET /nope HTTP/1.1\r\nhost: a b:x\r\n\r\n", ["400"]],
    ["two hosts", "GET /orders HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", ["400"]],
    ["a whole address", "GET http://lab/nope HTTP/1.1\r\nhost: lab\r\n\r\n", ["404"]],
    ["CONNECT", "CONNECT lab:80 HTTP/1.1\r\nhost: lab\r\n\r\n", ["400"]],
    ["PROPFIND", "PROPFIND /order HTTP/1.1\r\nhost: lab\r\n\r\n", ["405"]],
    ["bytes that are no HTTP", "\u0016\u0003\u0001\u0002\0\u0001\0\u0001ü\r\n\r\n", ["400", "cut"]],
  ];
  return Promise.all(
    waves.map(async ([kind, bytes, may]) => {
      const answers: Record<string, number> = {};
      const note = (answer: string) => (answers[answer] = (answers[answer] ?? 0) + 1);
      if (kind === ENDLESS) {
        const sent = Array.from({ length: REPEATS }, () => rawAnswer(url, bytes));
        for (const answer of await Promise.all(sent)) note(answer);
      } else for (let n = 0; n < REPEATS; n += 1) note(await rawAnswer(url, bytes));
      const wrong = Object.keys(answers).filter((one) => !may.includes(one));
      return { kind, sent: REPEATS, answers, wrong };
    }),
  );
}

function sum(waves: readonly Wave[]): number {
  return waves.reduce((total, { sent }) => total + sent, 0);
}

function conclude(run: Run, waves: readonly Wave[], told: LoadResult, model: Model): void {
  run.figure("hostile", sum(waves));
  run.figure("honest_p99_ms", latencies(told).p99_ms);
  run.table({
    id: "hostile-input",
    title: "What was sent, and what it was answered",
    columns: [{ name: "what" }, { name: "sent" }, { name: "answers" }, { name: "wrong" }],
    rows: waves.map(({ answers, kind, sent, wrong }) => [
      kind,
      sent,
      Object.entries(answers)
        .map(([answer, count]) => `${count} ${answer}`)
        .join(", ") || "–",
      wrong.length,
    ]),
    note: `Honest orders beside it: ${told.count}.`,
  });
  for (const { kind, wrong } of waves) run.holds(`${kind}: refused as it should be`, wrong, []);
  run.holds(
    "every honest order got its answer",
    Object.keys(told.answers).filter((answer) => !goodAnswers(model).includes(answer)),
    [],
  );
}
