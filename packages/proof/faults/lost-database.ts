import { REFUSED } from "../answers.ts";
import { mkdirSync, renameSync, rmSync } from "node:fs";
import { basename, join } from "node:path";
import type { Model } from "@lab/evidence/evidence";
import { experiment } from "@lab/lab/experiment/experiment";
import { fetchHealth } from "@lab/lab/services/health";
import { answerOf } from "@lab/lab/load/history";
import type { ServiceProcess } from "@lab/lab/services/processes";
import { trialOf } from "@lab/lab/experiment/trial";
import { eventually } from "@lab/lab/host/waiting";
import { answersTable, judge, keepOrdering, LOW_RATE_PER_S, timed } from "../common.ts";

/** Orders that are answered while a database is away, and refused where it is the order service's. */
const MEANWHILE = 30;

/** Somebody takes a service's database away while it runs. */
export function testLostDatabase(model: Model): void {
  experiment(
    {
      name: "lost-database",
      model,
      question:
        "A running service's database files are moved away, or deleted: what is still said to be stored?",
      method: `${LOW_RATE_PER_S} orders/s all along. The three files of one service after the other are moved away and, ${MEANWHILE} answers later, back. Then the order service's log alone is deleted, and the service stopped and started again.`,
      disproof:
        "A service that says it is up meanwhile, or doesn't name the file. An order accepted by a service that can't keep it, anything stored in a file that nobody finds, an order that is lost once the files are back or the service has started again.",
      requirements: [],
      parameters: { rate_per_s: LOW_RATE_PER_S },
    },
    async (run) => {
      await using trial = await trialOf(run, "lost-database");
      const { order, services } = trial.campus;
      const orders = keepOrdering(trial, LOW_RATE_PER_S);
      const rows: (string | number)[][] = [];
      const strike = async (
        title: string,
        service: ServiceProcess,
        take: () => string,
        mend: () => Promise<void>,
      ) => {
        run.progress(`${title}: ${service.name}`);
        await orders.more(20);
        const file = take();
        const { value: problems, tookMs } = await timed(() => untilDown(service));
        const from = trial.operations.length;
        await orders.more(MEANWHILE);
        const answers = trial.operations.slice(from).map(answerOf);
        const { tookMs: backMs } = await timed(mend);
        const refused = answers.filter((answer) => answer === REFUSED).length;
        rows.push([title, service.name, tookMs, refused, answers.length - refused, backMs]);
        run.holds(
          `${title}, ${service.name}: named, and what can't be kept is refused`,
          [
            problems.map((problem) => problem.includes(file)),
            service === order && refused < answers.length,
          ],
          [[true], false],
        );
      };
      for (const service of services) {
        const away = join(run.folder, "away");
        mkdirSync(away);
        await strike(
          "moved away and back",
          service,
          () => {
            move(service.database, away);
            return service.database;
          },
          async () => {
            move(join(away, basename(service.database)), join(service.database, ".."));
            rmSync(away, { recursive: true });
            // It is named for a moment more, which `healthy` would take for good.
            await eventually(
              `${service.name} is up again`,
              async () => (await fetchHealth(service.url)).status === "up",
            );
          },
        );
      }
      const log = `${order.database}-wal`;
      await strike(
        "its log deleted, started again",
        order,
        () => {
          rmSync(log);
          return log;
        },
        async () => {
          await order.restart();
          await order.healthy();
        },
      );
      await orders.more(20);
      await orders.stop();
      await judge(run, trial, { kills: 0, faults: rows.length });
      run.table({
        id: "lost-database",
        title: "A database that is taken away",
        columns: [
          { name: "what" },
          { name: "service" },
          { name: "until it is down", unit: "ms" },
          { name: "refused meanwhile" },
          { name: "other answers" },
          { name: "until it is up", unit: "ms" },
        ],
        rows,
      });
      answersTable(run, trial);
    },
  );
}

function move(database: string, folder: string): void {
  for (const suffix of ["", "-wal", "-shm"]) {
    renameSync(`${database}${suffix}`, join(folder, `${basename(database)}${suffix}`));
  }
}

/** Returns what a service says is wrong, once it says that it is down. */
function untilDown({ name, url }: ServiceProcess): Promise<string[]> {
  return eventually(
    `${name} is down`,
    async () => {
      const { problems, status } = await fetchHealth(url);
      return status === "down" && problems.length > 0 && problems;
    },
    { everyMs: 5 },
  );
}
