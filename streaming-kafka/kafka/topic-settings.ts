/** What the broker says about a topic's partitions and settings, and whether it refuses a change. */
import { type Admin, ConfigResourceTypes, ConfigSource } from "kafkajs";
import { rootOf } from "./errors.ts";

/**
 * The number of partitions; undefined where there is no such topic, or where kafkajs failed to read
 * the answer.
 */
export async function partitionsOf(admin: Admin, name: string): Promise<number | undefined> {
  try {
    const { topics } = await admin.fetchTopicMetadata({ topics: [name] });
    return topics[0]?.partitions.length;
  } catch (error) {
    // For a topic that existed before, kafkajs swallows the broker's error, and throws a TypeError
    // for the missing answer.
    if (error instanceof TypeError) return undefined;
    if (rootOf(error).type === "UNKNOWN_TOPIC_OR_PARTITION") return undefined;
    throw error;
  }
}

/** The message of the broker's permanent refusal, if any; throws transient errors. */
export async function refusalOf(change: Promise<unknown>): Promise<string | undefined> {
  try {
    await change;
    return undefined;
  } catch (error) {
    const { message, retriable, type } = rootOf(error);
    if (type === undefined || retriable) throw error;
    return message;
  }
}

/** A topic's settings by name, and which of them are its own. */
export type TopicSettings = Map<string, { value: string; isOwn: boolean }>;

/** By topic; without those whose settings we aren't authorized to see. */
export async function settingsOf(
  admin: Admin,
  names: readonly string[],
): Promise<Map<string, TopicSettings>> {
  if (names.length === 0) return new Map();
  try {
    const { resources } = await admin.describeConfigs({
      includeSynonyms: false,
      resources: names.map((name) => ({ type: ConfigResourceTypes.TOPIC, name })),
    });
    return new Map(
      resources.map(({ configEntries, resourceName }) => [
        resourceName,
        new Map(
          configEntries.map(({ configName, configSource, configValue }) => [
            configName,
            { value: configValue, isOwn: configSource === ConfigSource.TOPIC_CONFIG },
          ]),
        ),
      ]),
    );
  } catch (error) {
    if (!rootOf(error).type?.endsWith("AUTHORIZATION_FAILED")) throw error;
    if (names.length === 1) return new Map();
    // kafkajs tells of one refusal, and drops the other answers.
    const each = await Promise.all(names.map((name) => settingsOf(admin, [name])));
    return new Map(each.flatMap((one) => [...one]));
  }
}
