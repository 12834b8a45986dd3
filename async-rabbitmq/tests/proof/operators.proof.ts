/** RabbitMQ blocked, its topology deleted, messages viewed, and wrong configuration, while the services run. */
import type { Broker } from "@lab/lab/brokers/broker";
import { count } from "@lab/lab/probes/databases";
import { experiment, type Run } from "@lab/lab/experiment/experiment";
import { fetchHealth } from "@lab/lab/services/health";
import { judge } from "@lab/proof/common";
import { type ServiceProcess, startService } from "@lab/lab/services/processes";
import { openChannel } from "@lab/lab/probes/rabbitmq-tools";
import { rabbitmqctl } from "@lab/lab/brokers/rabbitmqctl";
import { type Trial, trialOf } from "@lab/lab/experiment/trial";
import { eventually, settled } from "@lab/lab/host/waiting";
import type { ConfirmChannel } from "amqplib";
import { deadQueue, topology } from "../../topology.ts";

/** More than there are attempts at a message. */
const LOOKS = 10;
/** In which what was taken away is there again. */
const BACK_MS = 15_000;
/** Of a queue's arguments one that nobody here declares. */
const OTHER_LIMIT = 3;

/** The keys of all bindings to the exchange. */
const BINDINGS =
  "inventory.failed, inventory.reserved, inventory.reserved, notification.sent, order.placed";

experiment(
  {
    name: "operators",
    model: "async-rabbitmq",
    question:
      "RabbitMQ takes nothing, loses its topology to somebody's hands, or was never as the services need it: is it seen, and does it come right?",
    method: `A memory alarm and a SIGSTOP, with orders. Exchange, queues, dead queues and bindings deleted, one after the other. A waiting order looked at ${LOOKS} times, as RabbitMQ's management page does. A service that starts on a queue with other arguments, with a wrong password, and with a bug in its set-up.`,
    disproof: `A health of 200 over a broker that takes nothing, a piece of topology that isn't back within ${BACK_MS / 1_000} s, an order without an end, a cause that isn't named or is named again and again.`,
    requirements: [],
    parameters: { looks: LOOKS },
  },
  async (run) => {
    await using broker = await run.ownBroker("rabbitmq");
    await using trial = await trialOf(run, "operators", { broker });
    const { channel, model } = await openChannel(broker.address);
    try {
      await brokerBlocked(run, broker, trial);
      await topologyDeleted(run, trial, channel);
      await messageViewed(run, trial, channel);
      await misconfigured(run, broker, channel);
      await judge(run, trial, { kills: 1, faults: 3 });
    } finally {
      await model.close();
    }
  },
);

/** A memory alarm blocks who publishes; a paused broker confirms nothing, and answers nobody. */
async function brokerBlocked(run: Run, broker: Broker, trial: Trial): Promise<void> {
  const { order, inventory } = trial.campus;
  run.progress("a memory alarm");
  await rabbitmqctl(broker, "set_vm_memory_high_watermark", "0.0000001");
  try {
    await placeSome(run, trial);
    run.holds("health names the alarm", await waitsFor(order, "low on memory"), {
      status: "down",
      unconfirmed: true,
    });
  } finally {
    await rabbitmqctl(broker, "set_vm_memory_high_watermark", "0.4");
  }
  await allConfirmed(trial);
  await order.healthy();

  run.progress("SIGSTOP");
  await broker.pause();
  try {
    await placeSome(run, trial);
    run.holds("health says that nothing is confirmed", await waitsFor(order, "confirms nothing"), {
      status: "down",
      unconfirmed: true,
    });
    const idle = await waitsFor(inventory, "");
    run.holds("so does one that has nothing to publish", idle.status, "down");
  } finally {
    await broker.resume();
  }
  await allConfirmed(trial);
}

/** What somebody deletes is declared again, whether or not it is needed meanwhile. */
async function topologyDeleted(run: Run, trial: Trial, channel: ConfirmChannel): Promise<void> {
  const names = topology(trial.namespace);
  const { exchange, inventoryQueue, notificationQueue, orderQueue } = names;
  const queues = [inventoryQueue, notificationQueue, orderQueue];
  run.progress("exchange, queues and dead queues are deleted");
  await channel.deleteExchange(exchange);
  for (const queue of queues) {
    await channel.deleteQueue(deadQueue(queue));
    await channel.deleteQueue(queue);
  }
  const back = async () => {
    const bindings = await bindingsOf(trial);
    if (bindings !== BINDINGS) {
      throw new Error(bindings);
    }
    for (const queue of queues) {
      if (!(await exists(trial, queue)) || !(await exists(trial, deadQueue(queue)))) return false;
    }
    return true;
  };
  run.holds(
    "all of it is back",
    await eventually("it is back", back, { timeoutMs: BACK_MS }),
    true,
  );
  await placeSome(run, trial);
  await allConfirmed(trial);

  run.progress("bindings are deleted, with orders at once");
  await channel.unbindQueue(inventoryQueue, exchange, "order.placed");
  await channel.unbindQueue(orderQueue, exchange, "notification.sent");
  await placeSome(run, trial);
  await eventually("they are back", back, { timeoutMs: BACK_MS });
  await allConfirmed(trial);
}

/** To look at a message is a delivery to RabbitMQ, and no attempt. */
async function messageViewed(run: Run, trial: Trial, channel: ConfirmChannel): Promise<void> {
  const { inventory } = trial.campus;
  const { inventoryQueue } = topology(trial.namespace);
  run.progress("an order is looked at, again and again");
  await inventory.kill();
  await trial.send();
  for (let look = 0; look < LOOKS; look++) {
    const message = await eventually("it waits", () => channel.get(inventoryQueue));
    channel.reject(message, true);
  }
  await inventory.restart();
  await allConfirmed(trial);
}

/** What no waiting mends is named at once, once, and comes right by itself when somebody has mended it. */
async function misconfigured(run: Run, broker: Broker, channel: ConfirmChannel): Promise<void> {
  run.progress("a queue with other arguments");
  const namespace = `${run.namespace}other-`;
  const queue = topology(namespace).inventoryQueue;
  const quorum = { "x-queue-type": "quorum", "x-delivery-limit": OTHER_LIMIT };
  await channel.assertQueue(queue, { durable: true, arguments: quorum });
  await using service = await startService({
    model: "async-rabbitmq",
    service: "order-service",
    folder: `${run.folder}/never-right`,
    env: { AMQP_URL: broker.address, LAB_NAMESPACE: namespace },
  });
  const refusal = await service.healthy().then(
    () => "healthy",
    (error: Error) => error.message,
  );
  run.holds(
    "the wait for it ends with queue and argument",
    [/inequivalent arg '[^']+'/.test(refusal), refusal.includes(queue)],
    [true, true],
  );
  const said = async () => (await Bun.file(service.logFile).text()).split("broker_problem").length;
  run.holds("it is said once", await settled("it is said once", said, { forMs: 5_000 }), 2);
  await channel.deleteQueue(queue);
  await eventually("it is healthy", async () => (await fetchHealth(service.url)).status === "up");

  run.progress("a wrong password");
  const wrong = new URL(broker.address);
  wrong.password = "wrong";
  await service.restart({ AMQP_URL: wrong.href });
  const { problems } = await eventually("it is named", async () => {
    const health = await fetchHealth(service.url);
    return health.problems.length > 0 && health;
  });
  run.holds("the refusal is named", problems.join().includes("ACCESS_REFUSED"), true);
  await service.restart();

  run.progress("a bug");
  const script = `
    import { connectBroker } from "./connection.ts";
    import { topology } from "./topology.ts";
    import { createLog } from "@lab/runtime/log";
    await connectBroker({
      url: process.env["AMQP_URL"], names: topology("${namespace}"), log: createLog("x", "info"),
      setup: async () => undefined.bug,
    });`;
  const child = Bun.spawn([process.execPath, "-e", script], {
    cwd: `${import.meta.dir}/../..`,
    env: { PATH: process.env["PATH"], AMQP_URL: broker.address },
    stderr: "pipe",
  });
  const [code, complaint] = await Promise.all([child.exited, child.stderr.text()]);
  run.holds(
    "a bug ends the process, with its cause",
    [code, /TypeError/.test(complaint)],
    [1, true],
  );
}

/** Once a service's health waits for something with that word in it. */
async function waitsFor(service: ServiceProcess, word: string) {
  return eventually(`${service.name} waits for RabbitMQ: ${word}`, async () => {
    const { owed, status, waits_for: reasons } = await fetchHealth(service.url);
    if (!reasons.some((reason) => reason.includes(word))) throw new Error(reasons.join());
    return { status, unconfirmed: owed["unconfirmed"]!.count > 0 };
  });
}

async function placeSome(run: Run, trial: Trial): Promise<void> {
  const answers = await Promise.all(Array.from({ length: 3 }, () => trial.send()));
  run.holds(
    "orders are accepted all the same",
    answers.map(({ kind }) => kind),
    answers.map(() => "ok"),
  );
}

function allConfirmed({ campus }: Trial): Promise<true> {
  const open = "SELECT count(*) FROM orders WHERE status IN ('placed', 'reserved')";
  return eventually("every order has ended", () => count(campus.order, open) === 0);
}

/** By a channel of its own: one that asks for a queue that isn't there ends. */
async function exists(trial: Trial, queue: string): Promise<boolean> {
  const { channel, model } = await openChannel(trial.broker.address);
  try {
    await channel.checkQueue(queue);
    return true;
  } catch {
    return false;
  } finally {
    await model.close().catch(() => {});
  }
}

/** The keys of what is bound to the trial's exchange. */
async function bindingsOf({ broker, namespace }: Trial): Promise<string> {
  const { username, password } = new URL(broker.address);
  const { exchange } = topology(namespace);
  const answer = await fetch(
    `${broker.managementUrl}/api/exchanges/%2F/${exchange}/bindings/source`,
    {
      headers: { authorization: `Basic ${btoa(`${username}:${password}`)}` },
    },
  );
  const bindings = (await answer.json()) as { routing_key: string }[];
  return bindings
    .map(({ routing_key: key }) => key)
    .toSorted()
    .join(", ");
}
