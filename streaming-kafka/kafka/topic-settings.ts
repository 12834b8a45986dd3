/** What the broker says about a topic's partitions and settings, and whether it refuses a change. */
import { type Admin, type ConfigEntries, ConfigResourceTypes, ConfigSource } from "kafkajs";
import { createErrorFromCode } from "kafkajs/src/protocol/error.js";
import describeConfigs from "kafkajs/src/protocol/requests/describeConfigs/index.js";
import { rootOf } from "./errors.ts";
import { ask } from "./wire/ask.ts";

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

/** By topic; without those whose settings we aren't authorized to see. Throws transient errors. */
export async function settingsOf(
  brokers: string,
  names: readonly string[],
): Promise<Map<string, TopicSettings>> {
  if (names.length === 0) return new Map();
  const resources = names.map((name) => ({ type: ConfigResourceTypes.TOPIC, name }));
  const describe = describeConfigs.protocol({ version: 2 });
  const { request, response } = describe({ resources, includeSynonyms: false });
  const answer = await response.decode(await ask(brokers, request));
  const settings = new Map<string, TopicSettings>();
  for (const { configEntries, errorCode, resourceName } of answer.resources) {
    if (errorCode === 0) settings.set(resourceName, new Map(configEntries.map(settingOf)));
    else {
      const error = createErrorFromCode(errorCode);
      if (!error.type.endsWith("AUTHORIZATION_FAILED")) throw error;
    }
  }
  return settings;
}

function settingOf({ configName, configSource, configValue }: ConfigEntries) {
  const isOwn = (configSource as ConfigSource) === ConfigSource.TOPIC_CONFIG;
  return [configName, { value: configValue, isOwn }] as const;
}
