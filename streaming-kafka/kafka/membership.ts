/**
 * What a group member needs beyond kafkajs: it recovers from transient errors, ends the process on
 * a bug, and sets the group's offsets.
 */
import type { Log } from "@lab/runtime/log";
import type { Admin, Consumer, EachBatchPayload, Kafka } from "kafkajs";
import { createMember, SESSION_TIMEOUT_MS } from "./client.ts";
import { BlockingError, isBug, rootOf } from "./errors.ts";
import type { Troubles } from "./troubles.ts";

/**
 * Sets the offsets of a group that has no members; throws where it has some, as Kafka's own tools
 * do. kafkajs has `setOffsets` for this, but that waits for a fetch of 5 s for each topic.
 */
export async function setGroupOffsets(
  kafka: Kafka,
  admin: Admin,
  groupId: string,
  offsets: { topic: string; partition: number; offset: string }[],
): Promise<void> {
  const { groups } = await admin.describeGroups([groupId]);
  const members = groups[0]?.members.length ?? 0;
  if (members > 0) {
    const reason = `group ${groupId} has ${members} members beside this one: stop them`;
    // A killed member, such as this service's previous process, is removed by then.
    throw new BlockingError(reason, 2 * SESSION_TIMEOUT_MS);
  }
  // All that it reads is paused: instead of a fetch kafkajs sleeps for as long, and its end waits.
  const member = createMember(kafka, groupId, 100);
  const joined = new Promise((resolve) => {
    member.on(member.events.GROUP_JOIN, resolve);
  });
  const names = [...new Set(offsets.map(({ topic }) => topic))];
  await member.connect();
  try {
    await member.subscribe({ topics: names, fromBeginning: true });
    await member.run({
      autoCommit: false,
      eachBatchAutoResolve: false,
      eachBatch: async () => {},
    });
    member.pause(names.map((topic) => ({ topic })));
    await joined;
    await member.commitOffsets(offsets);
  } finally {
    await member.disconnect();
  }
}

/**
 * Returns whether a consumer is a member of its group, by its own events: it is not where no
 * heartbeat was answered within the session timeout. kafkajs itself gives up a silent broker only
 * after 40 s or more. The reason is named in `troubles`, and it retries; a bug ends the process.
 */
export function watchGroup(consumer: Consumer, log: Log, troubles: Troubles): () => boolean {
  let member = false;
  let answeredMs = 0;
  const { GROUP_JOIN, HEARTBEAT, CRASH, STOP, DISCONNECT } = consumer.events;
  const joined = (is: boolean) => () => {
    if (is !== member) log.info(is ? "broker_connected" : "broker_disconnected");
    member = is;
  };
  for (const event of [GROUP_JOIN, HEARTBEAT] as const) {
    consumer.on(event, joined(true));
    consumer.on(event, () => void (answeredMs = performance.now()));
  }
  consumer.on(GROUP_JOIN, () => troubles.clear("consumer group"));
  const { run, stop, disconnect } = consumer;
  let leaving = false;
  let again = async () => {};
  let crashedMs = 0;
  consumer.run = (config) => {
    leaving = false;
    again = async () => {
      await consumer.connect();
      if (!leaving) await run(config);
    };
    return run(config);
  };
  // When it is told to leave while it reconnects, it must not join again.
  const leave = (way: () => Promise<void>) => () => {
    leaving = true;
    return way();
  };
  consumer.stop = leave(stop);
  consumer.disconnect = leave(disconnect);
  consumer.on(CRASH, ({ payload: { error, restart } }) => {
    if (isBug(error)) return crash(rootOf(error));
    troubles.noteError("consumer group", error);
    if (restart) return;
    // At once, unless it has crashed shortly before.
    const pauseMs = Date.now() - crashedMs < RESTLESS_MS ? PAUSE_MS : 0;
    crashedMs = Date.now();
    const comeBack = () => connectPersistently(troubles, () => leaving, again);
    void (pauseMs === 0 ? comeBack() : Bun.sleep(pauseMs).then(comeBack));
  });
  for (const event of [CRASH, STOP, DISCONNECT] as const) {
    consumer.on(event, joined(false));
  }
  return () => member && performance.now() - answeredMs < SESSION_TIMEOUT_MS;
}

/**
 * The same work, but a bug in it ends the process: kafkajs would retry it for ever. After the
 * broker's errors, and transient ones of the database, it is retried.
 */
export function crashOnBugs(
  work: (payload: EachBatchPayload) => Promise<void>,
): (payload: EachBatchPayload) => Promise<void> {
  return async (payload) => {
    try {
      await work(payload);
    } catch (error) {
      if (isBug(error)) crash(error);
      const { name } = error as Error;
      // Wrapped, the error "not a member" would end the consumer; unwrapped, kafkajs rejoins.
      throw name === "KafkaJSNonRetriableError" ? ((error as Error).cause ?? error) : error;
    }
  };
}

/** Passes an error to the process' crash handler. */
function crash(error: unknown): void {
  queueMicrotask(() => {
    throw error;
  });
}

/** The pause between two attempts to reconnect. */
const PAUSE_MS = 500;
const RESTLESS_MS = 5_000;

/** Tries `connect` until it works or `stopped`: a start does not need the broker. A bug ends the process. */
export async function connectPersistently(
  troubles: Troubles,
  stopped: () => boolean,
  connect: () => Promise<void>,
): Promise<void> {
  while (!stopped()) {
    try {
      await connect();
      troubles.clear("connection");
      return;
    } catch (error) {
      if (isBug(error)) return crash(rootOf(error));
      troubles.noteError("connection", error);
      await Bun.sleep(PAUSE_MS);
    }
  }
}
