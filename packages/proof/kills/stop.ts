import { readFileSync } from "node:fs";
import type { Model } from "@lab/evidence/evidence";
import { byLength } from "@lab/evidence/settings";
import { STOP_GRACE_MS } from "@lab/runtime/limits";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import type { ServiceProcess } from "@lab/lab/services/processes";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { eventually } from "@lab/lab/host/waiting";
import { illegalAnswers } from "../answers.ts";
import { answersTable, judge, keepOrdering, type Ordering, RATE_PER_S, timed } from "../common.ts";

/** In each of them every service stops once. */
const ROUNDS = byLength({ short: 3, full: 20, long: 60 });
const AT_ONCE_MS = 1_000;

/** What a model has to show that a stop made nobody do work again. */
interface Watch extends AsyncDisposable {
  /** Called while the stopped service is down: what it left half-done, in words; [] for nothing, undefined where that can't be seen. */
  afterStop?(service: ServiceProcess): Promise<string[] | undefined>;
  /** What was done twice in the end, by name; every number is 0 when nothing was. */
  repeated(): Promise<Record<string, number>>;
}

interface StopPlan {
  model: Model;
  /** Whether one stop waits out a client with half a request: 8 s, in code that all models share. */
  slowClient?: boolean;
  /** How `watch` looks for repetition, for the method. */
  repetition: string;
  /** What it would see, for the disproof. */
  repeats: string;
  watch(trial: Trial): Promise<Watch>;
}

/** SIGTERM for each service in turn, under load; then a second signal for each. */
export function testStop({
  model,
  repeats,
  repetition,
  slowClient = false,
  watch,
}: StopPlan): void {
  experiment(
    {
      name: "stop",
      model,
      question: "A service gets SIGTERM under load: is anything lost, or done twice for nothing?",
      method: `${RATE_PER_S} orders/s all along; ${ROUNDS} rounds of SIGTERM and a new start for each service in turn; then two signals for each, while a client that has sent half a request keeps its stop waiting${slowClient ? ", and one signal for the first" : ""}. ${repetition}`,
      disproof: `An exit code other than 0, a stop over its grace, an order lost, ${repeats}, a second signal that has to wait.`,
      requirements: [],
      parameters: { rate_per_s: RATE_PER_S, rounds: ROUNDS, grace_ms: STOP_GRACE_MS },
    },
    async (run) => {
      await using trial = await trialOf(run, "stop");
      await using watching = await watch(trial);
      const { services } = trial.campus;
      const orders = keepOrdering(trial, RATE_PER_S);
      const stops: Stop[] = [];
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const service of services) {
          // Something must be under way, in the middle of which the signal comes.
          await orders.more(10);
          stops.push(await stopOnce(service, watching));
        }
      }
      await orders.stop();
      await trial.settle();
      const repeated = await watching.repeated();
      run.progress(`${stops.length} stops; now with half a request open`);
      const again = keepOrdering(trial, RATE_PER_S);
      const patient = slowClient ? [await stopSlowly(again, trial.campus.order)] : [];
      const twice: Stop[] = [];
      for (const service of services) twice.push(await stopTwice(again, service));
      await again.stop();
      const { acknowledged } = await judge(run, trial, {
        kills: 0,
        faults: stops.length + patient.length + twice.length,
      });
      tables(run, services, stops, patient, twice);
      answersTable(run, trial);
      run.holds("no answer was illegal", illegalAnswers(model, trial.operations), []);
      run.holds("orders were acknowledged", acknowledged > 0, true);
      run.holds(
        "every stop ended with 0 in its grace, with nothing half-done",
        stops.filter(
          ({ code, left, tookMs }) =>
            code !== 0 || tookMs > STOP_GRACE_MS || (left ?? []).length > 0,
        ),
        [],
      );
      for (const [what, n] of Object.entries(repeated)) run.figure(what, n);
      run.holds(
        "nothing was done twice",
        Object.entries(repeated).filter(([, n]) => n !== 0),
        [],
      );
      run.holds(
        "half a request doesn't keep a stop over its grace",
        patient.filter(({ code, tookMs }) => code !== 0 || tookMs > STOP_GRACE_MS),
        [],
      );
      run.holds(
        "a second signal ends it at once",
        twice.map(({ code, tookMs }) => ({ code, atOnce: tookMs < AT_ONCE_MS })),
        services.map(() => ({ code: 1, atOnce: true })),
      );
    },
  );
}

interface Stop {
  service: string;
  code: number;
  tookMs: number;
  /** What it left half-done, in words; undefined where nobody looked. */
  left: string[] | undefined;
}

async function stopOnce(service: ServiceProcess, watching: Watch): Promise<Stop> {
  const { value: code, tookMs } = await timed(() => service.stop());
  const left = await watching.afterStop?.(service);
  await service.restart();
  return { service: service.name, code, tookMs, left };
}

/** A stop that a client with half a request keeps waiting. */
async function stopSlowly(orders: Ordering, service: ServiceProcess): Promise<Stop> {
  await orders.more(10);
  using _ = await halfRequest(service);
  const { value: code, tookMs } = await timed(() => service.stop());
  await service.restart();
  return { service: service.name, code, tookMs, left: undefined };
}

/** The same with a second signal; its time counts from there. */
async function stopTwice(orders: Ordering, service: ServiceProcess): Promise<Stop> {
  await orders.more(10);
  using _ = await halfRequest(service);
  const from = readFileSync(service.logFile).length;
  const ended = service.stop();
  await eventually(
    `${service.name} says that it stops`,
    () => readFileSync(service.logFile).subarray(from).includes('"stopping"'),
    { everyMs: 5 },
  );
  const { value: code, tookMs } = await timed(() => {
    process.kill(service.pid, "SIGTERM");
    return ended;
  });
  await service.restart();
  return { service: service.name, code, tookMs, left: undefined };
}

/** A client that sends the head of a request, and not its body. */
async function halfRequest({ url }: ServiceProcess): Promise<Disposable> {
  const { hostname, port } = new URL(url);
  const socket = await Bun.connect({ hostname, port: Number(port), socket: { data() {} } });
  socket.write(
    "PUT /faults HTTP/1.1\r\nhost: lab\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n{",
  );
  // Answered after it on the same machine, so that half a request has arrived.
  await fetch(`${url}/health`);
  return { [Symbol.dispose]: () => socket.terminate() };
}

function tables(
  run: Run,
  services: ServiceProcess[],
  stops: Stop[],
  patient: Stop[],
  twice: Stop[],
): void {
  run.table({
    id: "stops",
    title: "SIGTERM under load",
    columns: [
      { name: "service" },
      { name: "situation" },
      { name: "stops" },
      { name: "exit codes" },
      { name: "slowest", unit: "ms" },
      { name: "left half-done" },
    ],
    rows: [
      ...services.map(({ name }) =>
        row(
          name,
          "under load",
          stops.filter(({ service }) => service === name),
        ),
      ),
      ...patient.map((stop) => row(stop.service, "half a request open", [stop])),
      ...twice.map((stop) => row(stop.service, "half a request open, second signal", [stop])),
    ],
  });
  run.figure("slowest_stop_ms", Math.max(...stops.map(({ tookMs }) => tookMs)));
}

function row(service: string, situation: string, stops: Stop[]) {
  const looks = stops.flatMap(({ left }) => (left === undefined ? [] : [left]));
  return [
    service,
    situation,
    stops.length,
    [...new Set(stops.map(({ code }) => code))].join(", "),
    Math.max(...stops.map(({ tookMs }) => tookMs)),
    looks.length === 0 ? "–" : looks.flat().length,
  ];
}
