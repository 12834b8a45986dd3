import { Database } from "bun:sqlite";
import { appendFileSync, closeSync, openSync, readFileSync, writeSync } from "node:fs";
import type { Model } from "../evidence.ts";
import { experiment, type Run } from "../experiment.ts";
import type { ServiceProcess } from "../processes.ts";
import { type Trial, trialOf } from "../trial.ts";
import { eventually, nowUs, outage } from "../waiting.ts";
import { setFaults } from "../set-faults.ts";
import { answerOf } from "../history.ts";
import { answersTable, judge, keepOrdering, type Ordering, timed } from "./common.ts";

const RATE_PER_S = 50;
/** Longer than a message's attempts last until it is dead: 3.1 s in RabbitMQ's model. */
const FULL_S = 4;
/** Longer than the services' busy_timeout of 2 s. */
const LOCKED_S = 2.5;

/** Only Linux has a way to limit the files of a process that runs already. */
const CAN_FILL = Bun.which("prlimit") !== null;

/** What may be said to an order meanwhile, by model; anything else is not clear. */
const CLEAR: Record<Model, readonly string[]> = {
  "sync-rest": [
    "ok 201",
    // Stored, but its end couldn't be: it is taken up again.
    "ok 202",
    "failed 409 unknown_item",
    "failed 502 inventory_error",
    "failed 503 store_unavailable",
    "failed 504 inventory_timeout",
  ],
  "async-rabbitmq": ["ok 202", "failed 503 store_unavailable"],
  "streaming-kafka": ["ok 202", "failed 503 store_unavailable"],
};
/** And where services end. */
const CLEAR_WITHOUT: Record<Model, readonly string[]> = {
  "sync-rest": [
    "failed 503 inventory_unreachable",
    "failed connection_refused",
    "unknown connection_reset",
  ],
  "async-rabbitmq": ["failed connection_refused", "unknown connection_reset"],
  "streaming-kafka": ["failed connection_refused", "unknown connection_reset"],
};

/** The disk under a service's database fails in every way that a process can arrange. */
export function testStorageFaults(model: Model): void {
  experiment(
    {
      name: "storage-faults",
      model,
      question: "The disk is full, a file is read-only, locked, or was torn by a crash: what then?",
      method: `${RATE_PER_S} orders/s all along. Full: a file size limit of 0 for the running processes (prlimit), so that every write fails. Locked: another process holds the write lock for ${LOCKED_S} s, longer than busy_timeout. Torn: SIGKILL, and half a frame behind the last one in the write-ahead log. Read-only: the database's header says so, which binds root too; each service is started on it, and again when it is lifted.`,
      disproof:
        "An answer that is neither success nor a clear refusal, an order acknowledged and not stored, a message that dies of it, a service that needs a hand when the disk is well again.",
      requirements: [],
      parameters: {
        rate_per_s: RATE_PER_S,
        full_s: CAN_FILL ? FULL_S : "not run: no prlimit here",
        locked_s: LOCKED_S,
      },
    },
    async (run) => {
      await using trial = await trialOf(run, "storage");
      const { inventory, order, services, third } = trial.campus;
      const orders = keepOrdering(trial, RATE_PER_S);
      const rows: Row[] = [];
      // The work gives how often it killed.
      const strike = async (
        fault: string,
        struck: readonly ServiceProcess[],
        work: () => Promise<number>,
      ) => {
        run.progress(`${fault}: ${struck.map(({ name }) => name).join(", ")}`);
        rows.push(await strikeOnce(trial, orders, fault, struck, work));
      };
      for (const [struck, fullS] of [
        [[inventory, third], FULL_S],
        [[order], 2],
      ] as const) {
        // The disk must fail in the middle of orders, too: after they are stored, before they end.
        await setFaults(inventory, { delay_ms: 300 });
        await orders.more(20);
        if (CAN_FILL) await strike("full disk", struck, () => fullDisk(struck, fullS));
        await setFaults(inventory, { delay_ms: 0 });
        await strike("locked database", struck, () => lockedDatabase(struck));
      }
      await strike("torn write-ahead log", services, () => tornLog(services));
      await strike("read-only database", services, () => readOnly(services, orders));
      await orders.stop();
      await judge(run, trial, {
        kills: rows.reduce((sum, { kills }) => sum + kills, 0),
        faults: rows.length,
      });
      table(run, rows);
      answersTable(run, trial);
      run.holds(
        "every answer is clear",
        rows.flatMap(({ unclear }) => unclear),
        [],
      );
      run.holds(
        "nobody ended by itself",
        rows.filter(({ survived }) => !survived),
        [],
      );
    },
  );
}

/** Every write fails, as on a disk without space: in databases, their logs and the service's own log. */
async function fullDisk(services: readonly ServiceProcess[], forS: number): Promise<number> {
  for (const { pid } of services) limitFiles(pid, "0");
  await outage(forS);
  for (const { pid } of services) limitFiles(pid, "unlimited");
  return 0;
}

function limitFiles(pid: number, limit: string): void {
  // The soft limit, so that everybody may lift it again.
  const { success, stderr } = Bun.spawnSync(["prlimit", "--pid", `${pid}`, `--fsize=${limit}:`]);
  if (!success) throw new Error(`prlimit: ${stderr.toString()}`);
}

async function lockedDatabase(services: readonly ServiceProcess[]): Promise<number> {
  const holders = services.map(({ database }) => {
    const db = new Database(database);
    db.run("PRAGMA busy_timeout = 5000");
    db.run("BEGIN IMMEDIATE");
    return db;
  });
  await outage(LOCKED_S);
  for (const db of holders) {
    db.run("ROLLBACK");
    db.close();
  }
  return 0;
}

/** As a crash in the middle of a write leaves it: a frame that is valid up to its half. */
async function tornLog(services: ServiceProcess[]): Promise<number> {
  await Promise.all(services.map((service) => service.kill()));
  for (const { database } of services) {
    const log = readFileSync(`${database}-wal`);
    const HEADER_BYTES = 32;
    const pageBytes = log.readUInt32BE(8);
    const frame = log.subarray(HEADER_BYTES, HEADER_BYTES + 24 + pageBytes / 2);
    appendFileSync(`${database}-wal`, frame);
  }
  await Promise.all(services.map((service) => service.restart()));
  return services.length;
}

/**
 * A service that writes when it starts ends with the reason; another says "not now" to whoever wants
 * something stored. SQLite doesn't look at the header again, as it wouldn't look at a file's mode:
 * well again takes a new start.
 */
async function readOnly(services: ServiceProcess[], orders: Ordering): Promise<number> {
  const ended = new Set<ServiceProcess>();
  const before = new Map<ServiceProcess, number>();
  for (const service of services) {
    await service.stop();
    before.set(service, markHeader(service.database, READ_ONLY));
    await service.restart().catch((error: Error) => {
      if (!/exit code 1:[^]*readonly database/.test(error.message)) throw error;
      ended.add(service);
    });
  }
  await orders.more(50);
  for (const [service, version] of before) {
    if (!ended.has(service)) await service.kill();
    markHeader(service.database, version);
    await service.restart();
  }
  return services.length - ended.size;
}

/** The file format's write version, above which SQLite only reads: byte 18 of the header. */
const READ_ONLY = 3;

/** Sets that byte; gives what it was. */
function markHeader(database: string, version: number): number {
  // The header's newest copy may be in the write-ahead log.
  {
    using db = new Database(database);
    db.run("PRAGMA wal_checkpoint(TRUNCATE)");
  }
  const before = readFileSync(database)[18]!;
  const file = openSync(database, "r+");
  writeSync(file, new Uint8Array([version]), 0, 1, 18);
  closeSync(file);
  return before;
}

interface Row {
  fault: string;
  services: string;
  lastedS: number;
  accepted: number;
  refused: number;
  kills: number;
  unclear: string[];
  survived: boolean;
  recoveredS: number;
}

async function strikeOnce(
  trial: Trial,
  orders: Ordering,
  fault: string,
  struck: readonly ServiceProcess[],
  work: () => Promise<number>,
): Promise<Row> {
  await orders.more(20);
  const from = trial.operations.length;
  const pids = trial.campus.services.map(({ pid }) => pid);
  const { tookMs, value: kills } = await timed(work);
  const stopped = trial.campus.services.some(({ pid }, n) => pid !== pids[n]);
  const clear = [...CLEAR[trial.model], ...(stopped ? CLEAR_WITHOUT[trial.model] : [])];
  const liftedUs = nowUs();
  const alive = await Promise.allSettled(trial.campus.services.map((one) => one.healthy()));
  await eventually("an order is accepted again", async () => (await trial.send()).kind === "ok");
  const recoveredS = Math.round((nowUs() - liftedUs) / 1_000) / 1_000;
  const seen = trial.operations.slice(from).map(answerOf);
  return {
    fault,
    services: struck.map(({ name }) => name).join(", "),
    lastedS: tookMs / 1_000,
    accepted: seen.filter((answer) => answer.startsWith("ok")).length,
    refused: seen.filter((answer) => answer === "failed 503 store_unavailable").length,
    kills,
    unclear: seen.filter((answer) => !clear.includes(answer)),
    survived: alive.every(({ status }) => status === "fulfilled"),
    recoveredS,
  };
}

function table(run: Run, rows: Row[]): void {
  run.table({
    id: "faults",
    title: "Faults of the disk",
    ...(CAN_FILL ? {} : { note: "Without a full disk: this machine has no prlimit." }),
    columns: [
      { name: "fault" },
      { name: "services" },
      { name: "lasted", unit: "s" },
      { name: "orders accepted" },
      { name: "answered 503 store_unavailable" },
      { name: "unclear answers" },
      { name: "until orders are accepted", unit: "s" },
    ],
    rows: rows.map((row) => [
      row.fault,
      row.services,
      row.lastedS,
      row.accepted,
      row.refused,
      row.unclear.length,
      row.recoveredS,
    ]),
  });
}
