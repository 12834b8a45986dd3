import { Database } from "bun:sqlite";
import { closeSync, openSync, readFileSync, truncateSync, writeSync } from "node:fs";
import { count } from "@lab/lab/probes/databases";
import type { Model } from "@lab/evidence/evidence";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import type { ServiceProcess } from "@lab/lab/services/processes";
import { DOWNSTREAM_EFFECTS, type Trial, trialOf } from "@lab/lab/experiment/trial";
import { eventually, nowUs, outage } from "@lab/lab/host/waiting";
import { setFaults } from "@lab/lab/services/set-faults";
import { answerOf } from "@lab/lab/load/history";
import { goodAnswers, REFUSED } from "../answers.ts";
import {
  answersTable,
  judge,
  keepOrdering,
  LOW_RATE_PER_S,
  type Ordering,
  timed,
} from "../common.ts";
import { SMALL_MIB, type SmallDisk, smallDisk } from "./small-disk.ts";

/** Longer than a message's attempts last until it is dead: 3.1 s in RabbitMQ's model. */
const FULL_S = 4;
/** Longer than the services' busy_timeout of 2 s. */
const LOCKED_S = 2.5;
const READ_ONLY_S = 1;

/** Only Linux has a way to limit the files of a process that runs already. */
const CAN_FILL = Bun.which("prlimit") !== null;

/**
 * Orders that must be refused before a fault is lifted. A locked database refuses one at first: the
 * others wait for that one's busy_timeout, and then share the next.
 */
const REFUSALS = 20;
const FELT_TIMEOUT_MS = 20_000;

/** There the services are dead, and refuse nobody. */
const TORN_LOG = "torn write-ahead log";

/** What may be said to an order meanwhile, beside what every model may say; anything else is not clear. */
interface ClearAnswers {
  /** Where the services go on. */
  up: readonly string[];
  /** Where some have ended. */
  down: readonly string[];
}

/** The disk under a service's database fails in every way that can be arranged. */
export function testStorageFaults(model: Model, own: ClearAnswers = { up: [], down: [] }): void {
  experiment(
    {
      name: "storage-faults",
      model,
      question: "The disk is full, a file is read-only, locked, or was torn by a crash: what then?",
      method: `${LOW_RATE_PER_S} orders/s all along, and one service after the other. Full: a file size limit of 0 for the running process (prlimit), so that every write fails; and no room on a small file system that all three share, where one may be mounted. Locked: another process holds the write lock for ${LOCKED_S} s at least, longer than busy_timeout, and where it is the order service's, until ${REFUSALS} orders were refused. Read-only: the database's header says so, which binds root too; the service is started on it, and again when it is lifted. Torn: SIGKILL of all three, one more transaction in each write-ahead log, and the log cut off in the middle of that.`,
      disproof:
        "A fault that isn't felt: nothing to store for who is struck, something that it stores all the same, an order service that refuses hardly anybody. An answer that is neither success nor a clear refusal, an order acknowledged and not stored, a transaction that outlives half of its log, a message that dies of it, a service that needs a hand when the disk is well again.",
      requirements: [],
      parameters: {
        rate_per_s: LOW_RATE_PER_S,
        full_s: CAN_FILL ? FULL_S : "not run: no prlimit here",
        locked_s: LOCKED_S,
      },
    },
    async (run) => {
      await using disk = await smallDisk(`${run.folder}/storage`);
      run.parameter(
        "full_file_system_mib",
        disk ? SMALL_MIB : "not run: no tmpfs may be mounted here",
      );
      await using trial = await trialOf(run, "storage");
      const { inventory, order, services } = trial.campus;
      const orders = keepOrdering(trial, LOW_RATE_PER_S);
      const rows: Row[] = [];
      const strike = async (fault: string, struck: readonly ServiceProcess[], work: Work) => {
        run.progress(`${fault}: ${struck.map(({ name }) => name).join(", ")}`);
        rows.push(await strikeOnce({ trial, orders, own }, fault, struck, work));
      };
      for (const service of services) {
        // The disk must fail in the middle of orders, too: after they are stored, before they end.
        await setFaults(inventory, { delay_ms: 300 });
        await orders.more(20);
        if (CAN_FILL) await strike("full disk", [service], fullDisk(service));
        await setFaults(inventory, { delay_ms: 0 });
        await strike("locked database", [service], lockedDatabase(service));
        await strike("read-only database", [service], readOnly(service));
      }
      if (disk) await strike("full file system", services, fullFileSystem(disk));
      await strike(TORN_LOG, services, tornLog(services));
      await orders.stop();
      await judge(run, trial, {
        kills: rows.reduce((sum, { kills }) => sum + kills, 0),
        faults: rows.length,
      });
      table(run, rows, disk !== undefined);
      answersTable(run, trial);
      run.holds(
        "who is struck alone has something to store, and stores nothing",
        rows.filter(({ asked, stored }) => stored !== null && (asked === 0 || stored > 0)),
        [],
      );
      run.holds(
        "the order service refuses while its disk fails",
        rows.filter(
          ({ fault, refused, services: struck }) =>
            fault !== TORN_LOG && struck.includes(order.name) && refused < REFUSALS,
        ),
        [],
      );
      run.holds(
        "a transaction that was cut off is gone, whole",
        services.map((service) => count(service, HAS_TORN)),
        services.map(() => 0),
      );
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

/** Brings the fault about and lifts it once it was felt; gives how often it killed. */
type Work = (untilFelt: (leastS: number) => Promise<void>) => Promise<number>;

/** Every write fails: in the database, its log and the service's own log. */
function fullDisk({ pid }: ServiceProcess): Work {
  return async (untilFelt) => {
    limitFiles(pid, "0");
    try {
      await untilFelt(FULL_S);
    } finally {
      limitFiles(pid, "unlimited");
    }
    return 0;
  };
}

function limitFiles(pid: number, limit: string): void {
  // The soft limit, so that everybody may lift it again.
  const { success, stderr } = Bun.spawnSync(["prlimit", "--pid", `${pid}`, `--fsize=${limit}:`]);
  if (!success) throw new Error(`prlimit: ${stderr.toString()}`);
}

/** A service may write where it has written before, until it needs more room. */
function fullFileSystem(disk: SmallDisk): Work {
  return async (untilFelt) => {
    const makeRoom = disk.fill();
    try {
      await untilFelt(FULL_S);
    } finally {
      makeRoom();
    }
    return 0;
  };
}

function lockedDatabase({ database }: ServiceProcess): Work {
  return async (untilFelt) => {
    // Closed, it gives up its transaction.
    using db = new Database(database);
    db.run("PRAGMA busy_timeout = 5000");
    db.run("BEGIN IMMEDIATE");
    await untilFelt(LOCKED_S);
    return 0;
  };
}

/** As a crash in the middle of a write leaves it: what was acknowledged, and half of one more transaction. */
function tornLog(services: readonly ServiceProcess[]): Work {
  return async () => {
    await Promise.all(services.map((service) => service.kill()));
    for (const { database } of services) {
      writeAndDie(database);
      const log = `${database}-wal`;
      const at = readFileSync(log).lastIndexOf(TORN);
      if (at === -1) throw new Error(`${log} has nothing to tear`);
      truncateSync(log, at + TORN.length / 2);
    }
    await Promise.all(services.map((service) => service.restart()));
    return services.length;
  };
}

const TORN = "a transaction that is torn";
const HAS_TORN = "SELECT count(*) FROM sqlite_schema WHERE name = 'torn'";

/** Commits a transaction of several pages. A process that isn't killed would take it over into the database as it closes. */
function writeAndDie(database: string): void {
  const script = `
    const { Database } = require("bun:sqlite");
    const db = new Database(${JSON.stringify(database)});
    db.run("PRAGMA wal_autocheckpoint = 0");
    db.run("BEGIN; CREATE TABLE torn (text)");
    db.run("INSERT INTO torn VALUES (hex(zeroblob(10000)) || '${TORN}'); COMMIT");
    process.kill(process.pid, "SIGKILL");`;
  const { signalCode, stderr } = Bun.spawnSync([process.execPath, "-e", script]);
  if (signalCode !== "SIGKILL") throw new Error(`${database}: ${stderr.toString()}`);
}

/**
 * A service that writes when it starts ends with the reason; another says "not now" to whoever wants
 * something stored. SQLite doesn't look at the header again, as it wouldn't look at a file's mode:
 * well again takes a new start.
 */
function readOnly(service: ServiceProcess): Work {
  return async (untilFelt) => {
    await service.stop();
    const version = markHeader(service.database, READ_ONLY);
    let ended = false;
    await service.restart().catch((error: Error) => {
      if (!/exit code 1:[^]*readonly database/.test(error.message)) throw error;
      ended = true;
    });
    await untilFelt(READ_ONLY_S);
    if (!ended) await service.kill();
    markHeader(service.database, version);
    await service.restart();
    return ended ? 0 : 1;
  };
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

/** How much a service had to store so far, and how much it has stored: each hears of its work from the one before it. */
function workOf({ campus, facts, operations }: Trial, service: ServiceProcess) {
  const orders = count(campus.order, "SELECT count(*) FROM orders");
  if (service === campus.order) return { asked: operations.length, stored: orders };
  const reservations = count(campus.inventory, "SELECT count(*) FROM reservations");
  if (service === campus.inventory) return { asked: orders, stored: reservations };
  const asked = facts.downstream === "analytics" ? orders : reservations;
  return { asked, stored: count(service, DOWNSTREAM_EFFECTS[facts.downstream]) };
}

interface Row {
  fault: string;
  services: string;
  lastedS: number;
  /** Of one that was struck alone, while it lasted; null for several. */
  asked: number | null;
  stored: number | null;
  accepted: number;
  refused: number;
  kills: number;
  unclear: string[];
  survived: boolean;
  recoveredS: number;
}

async function strikeOnce(
  { orders, own, trial }: { trial: Trial; orders: Ordering; own: ClearAnswers },
  fault: string,
  struck: readonly ServiceProcess[],
  work: Work,
): Promise<Row> {
  await orders.more(20);
  const from = trial.operations.length;
  const answers = () => trial.operations.slice(from).map(answerOf);
  const refused = () => answers().filter((answer) => answer === REFUSED).length;
  const [alone] = struck.length === 1 ? struck : [];
  let felt: Pick<Row, "asked" | "stored"> = { asked: null, stored: null };
  const untilFelt = async (leastS: number) => {
    // What was being stored when it began is stored by then.
    await outage(0.2);
    const before = alone && workOf(trial, alone);
    await outage(leastS);
    const refuses = struck.includes(trial.campus.order);
    await eventually(
      `${fault} is felt`,
      () => {
        if (before) {
          const { asked, stored } = workOf(trial, alone);
          felt = { asked: asked - before.asked, stored: stored - before.stored };
        }
        return felt.asked !== 0 && (!refuses || refused() >= REFUSALS);
      },
      { timeoutMs: FELT_TIMEOUT_MS },
    );
  };
  const pids = trial.campus.services.map(({ pid }) => pid);
  const { tookMs, value: kills } = await timed(() => work(untilFelt));
  const stopped = trial.campus.services.some(({ pid }, n) => pid !== pids[n]);
  const clear = [...goodAnswers(trial.model), REFUSED, ...own.up];
  if (stopped) clear.push("failed connection_refused", "unknown connection_reset", ...own.down);
  const liftedUs = nowUs();
  const alive = await Promise.allSettled(trial.campus.services.map((one) => one.healthy()));
  await eventually("an order is accepted again", async () => (await trial.send()).kind === "ok");
  const recoveredS = Math.round((nowUs() - liftedUs) / 1_000) / 1_000;
  const seen = answers();
  return {
    fault,
    services: struck.map(({ name }) => name).join(", "),
    lastedS: tookMs / 1_000,
    ...felt,
    accepted: seen.filter((answer) => answer.startsWith("ok")).length,
    refused: refused(),
    kills,
    unclear: seen.filter((answer) => !clear.includes(answer)),
    survived: alive.every(({ status }) => status === "fulfilled"),
    recoveredS,
  };
}

function table(run: Run, rows: Row[], withFileSystem: boolean): void {
  const notes = [
    ...(CAN_FILL ? [] : ["Without a full disk: this machine has no prlimit."]),
    ...(withFileSystem ? [] : ["Without a full file system: no tmpfs may be mounted here."]),
  ];
  run.table({
    id: "faults",
    title: "Faults of the disk",
    ...(notes.length === 0 ? {} : { note: notes.join(" ") }),
    columns: [
      { name: "fault" },
      { name: "services" },
      { name: "lasted", unit: "s" },
      { name: "came to be stored" },
      { name: "stored" },
      { name: "orders accepted" },
      { name: "answered 503 store_unavailable" },
      { name: "unclear answers" },
      { name: "until orders are accepted", unit: "s" },
    ],
    rows: rows.map((row) => [
      row.fault,
      row.services,
      row.lastedS,
      row.asked,
      row.stored,
      row.accepted,
      row.refused,
      row.unclear.length,
      row.recoveredS,
    ]),
  });
}
