import { MAX_DEATHS } from "@lab/store/attempts";
import { violations } from "@lab/lab/check/checker";
import { count, OUTBOX_DEPTH } from "@lab/lab/probes/databases";
import type { Model } from "@lab/evidence/evidence";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { History } from "@lab/lab/load/history";
import type { ServiceProcess } from "@lab/lab/services/processes";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { eventually } from "@lab/lab/host/waiting";
import { noteCounts } from "../common.ts";

/** Good orders before, between and after those that kill. */
const SOME = 20;
/** Whoever dies is started with this until nobody dies any more. */
const KILLER = { BUN_OPTIONS: "--preload=./packages/proof/input/killer.ts" };
/** Kafka misses a dead member after 6 s. */
const DIES_WITHIN_MS = 60_000;

const SETTLE_MS = 60_000;
/** The orders of dead messages stay open, so the trial never becomes idle: it is at rest when nothing has changed for this long. */
const STILL_MS = 5_000;

/** A dead letter, wherever it lies. */
interface Letter {
  reason: string;
  body: string;
}

/** A consumer, and the messages of its orders that kill it. */
interface Victim {
  service: "order" | "inventory" | "downstream";
  /** How they die; each kind is an order of its own. */
  killers: readonly ("killed-by-a-signal" | "killed-by-a-bug")[];
  /** Messages of such an order that it hears. */
  messages: number;
}

interface Plan {
  model: Model;
  victims: readonly Victim[];
  letters(trial: Trial): Promise<Letter[]>;
  /** The bug is mended: puts the dead letters back, where there is a way. */
  replay?(trial: Trial): Promise<void>;
}

/** Each consumer gets messages that kill its process, among good ones, and is started again whenever it has died. */
export function testKillerMessage({ model, victims, letters, replay }: Plan): void {
  experiment(
    {
      name: "killer-message",
      model,
      question: "A message kills its process: what becomes of it, and of those beside it?",
      method: `Messages that kill whoever parses them (SIGKILL, or a bug's end) wait among ${3 * SOME} good orders for each consumer, which is started again whenever it has died. Nothing in the services knows of it: a preloaded file makes \`JSON.parse\` deadly.`,
      disproof:
        "A consumer that never survives; a killer that isn't dead, whole and with its reason; a good order that isn't processed or is dead too.",
      requirements: [],
      parameters: { good_orders: 3 * SOME, most_deaths: MAX_DEATHS },
    },
    async (run) => {
      const seen = await Promise.all(
        victims.map((victim) => killedAndHealed(run, victim, { letters, replay })),
      );
      run.table({
        id: "killers",
        title: "Messages that kill",
        columns: [
          { name: "consumer" },
          { name: "killers" },
          { name: "deaths" },
          { name: "dead letters" },
          { name: "good orders" },
          { name: "of them ended well" },
        ],
        rows: seen.map((one) => one.row),
      });
      const kills = seen.reduce((sum, one) => sum + one.deaths, 0);
      noteCounts(
        run,
        seen.map((one) => one.verdict),
        { kills, faults: 0 },
      );
    },
  );
}

async function killedAndHealed(
  run: Run,
  { killers, messages, service: role }: Victim,
  { letters, replay }: Pick<Plan, "letters"> & { replay: Plan["replay"] | undefined },
) {
  await using history = new History(`${run.folder}/${role}.history.jsonl`);
  await using trial = await trialOf(run, role, { history });
  const service = trial.campus[role];
  const { name } = service;
  const ids = await queueUp(trial, service, killers);
  const lethal = killers.length * messages;
  const deaths = await supervise(service, async () => {
    const found = (await letters(trial)).length;
    // All but the killers' orders have ended, as the order service knows.
    return found === lethal && trial.openOrders() <= ids.length;
  });
  run.progress(`${name}: died ${deaths} times`);
  await service.restart();
  await trial.settle(SETTLE_MS, STILL_MS);
  const dead = await letters(trial);
  const reasons = dead.map(({ reason }) => reason);
  run.holds(
    `${name}: what kills is dead with its reason, and nothing else is`,
    reasons,
    Array.from({ length: lethal }, () => "killed_its_consumer"),
  );
  const whole = dead.filter(({ body }) => isWhole(trial, body)).length;
  run.holds(`${name}: it is kept as it came`, whole, lethal);
  run.holds(`${name}: it is isolated in a few deaths`, deaths <= lethal * (MAX_DEATHS + 1), true);
  const verdict = await trial.verdict();
  const { miscounted, ...illegal } = violations(verdict);
  // The victim has no record of the killers' orders: only the other orders are checked.
  const ofOthers = Object.values(illegal).flatMap((some) => some.filter((id) => !ids.includes(id)));
  // An event that kills Analytics or the order service is known to the other alone: their counts differ.
  const differ = trial.facts.downstream === "analytics" && role !== "inventory";
  run.holds(`${name}: the checker finds nothing illegal about the good orders`, ofOthers, []);
  run.holds(`${name}: metrics differ only by what was missed`, miscounted !== undefined, differ);
  run.holds(`${name}: of the orders only those are dead`, verdict.dead.toSorted(), ids.toSorted());
  const good = verdict.attempted - ids.length;
  if (replay !== undefined) {
    await replay(trial);
    await trial.settle();
    const after = await trial.verdict();
    run.holds(`${name}: put back after the bug is mended, it is processed`, after.dead, []);
    run.holds(`${name}: and all is well`, violations(after), {});
  }
  const row = [name, killers.join(", "), deaths, dead.length, 3 * SOME, good];
  run.holds(`${name}: every good order was accepted`, good, 3 * SOME);
  // The violations of the killers' orders were checked above: the totals leave them out.
  const held = Object.fromEntries(Object.keys(violations(verdict)).map((name) => [name, []]));
  return { verdict: { ...verdict, ...held }, deaths, row };
}

/** Good orders with the killers between them stand before the service, which is dead; the killers' ids. */
async function queueUp(
  trial: Trial,
  service: ServiceProcess,
  killers: Victim["killers"],
): Promise<string[]> {
  const { inventory, order } = trial.campus;
  // The order service hears only of what Inventory has done.
  const first = service === order ? inventory : service;
  await first.kill();
  const ids: string[] = [];
  const someGood = () => Promise.all(Array.from({ length: SOME }, () => trial.send()));
  await someGood();
  for (const user_id of killers) {
    const { order_id = "" } = await trial.place({ user_id, items: [{ sku: "burger", qty: 1 }] });
    ids.push(order_id);
    if (ids.length === 1) await someGood();
  }
  await someGood();
  await eventually("all are published", () => count(order, OUTBOX_DEPTH) === 0);
  if (service === order) {
    await order.kill();
    await inventory.restart();
  }
  return ids;
}

/** Starts it again whenever it has died, until it lives and is done; gives how often it has died. */
async function supervise(service: ServiceProcess, isDone: () => Promise<boolean>): Promise<number> {
  for (let deaths = 0; ; deaths += 1) {
    if (deaths > 20) throw new Error(`${service.name} dies for ever`);
    // It may die before it is ready.
    await service.restart(KILLER).catch(() => {});
    let hasDied = false;
    void service.exited.then(() => (hasDied = true));
    await eventually(
      `${service.name} dies, or is done`,
      async () => hasDied || ((await isDone()) && !hasDied),
      { timeoutMs: DIES_WITHIN_MS, everyMs: 100 },
    );
    if (!hasDied) return deaths;
  }
}

/** An OrderPlaced must equal the stored event byte for byte. Of other events the bytes aren't known here: they aren't compared. */
function isWhole({ campus }: Trial, body: string): boolean {
  const own = count(campus.order, "SELECT count(*) FROM outbox WHERE body = ?", body) === 1;
  return own || !body.includes('"OrderPlaced"');
}
