import type { Model } from "@lab/evidence/evidence";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { brokerThatIsUp } from "@lab/lab/brokers/state";
import { kafkaClient } from "@lab/lab/probes/kafka-tools";
import type { LogFrame } from "../contract/frame.ts";
import { ageOf, type Seen, watch } from "./watch.ts";

type Admin = ReturnType<ReturnType<typeof kafkaClient>["admin"]>;

/** Ends of a partition over time, to tell for how long its oldest unread record has waited. */
type Ends = [at_ms: number, end: number][];

interface Group {
  topic: string;
  group: string;
  looks: Seen<LogFrame["partitions"]>;
  members: Seen<number>;
  ends: Ends[];
}

/** The topics of the model as its groups read them, from Kafka itself. */
export class Logs {
  readonly #groups: Group[] = [];
  readonly #dead: Seen<number> = { value: undefined, at_ms: 0 };
  #address = "";
  #admin: Promise<Admin> | undefined;

  constructor(model: Model, namespace: () => Promise<string>, signal: AbortSignal) {
    const { broker } = factsOf(model);
    if (broker?.name !== "kafka") return;
    this.#groups = broker.topics.map((topic, n) => {
      const group = broker.groups[n] ?? "";
      const ends: Ends[] = [];
      return {
        topic,
        group,
        ends,
        looks: watch(1_000, signal, async () => this.#look(await namespace(), topic, group, ends)),
        // Describing a group is work for its coordinator.
        members: watch(2_000, signal, async () => {
          const { groups } = await (
            await this.#connected()
          ).describeGroups([`${await namespace()}${group}`]);
          return groups[0]?.members.length ?? 0;
        }),
      };
    });
    this.#dead = watch(1_000, signal, async () => {
      const admin = await this.#connected();
      const offsets = await admin.fetchTopicOffsets(`${await namespace()}${broker.deadTopic}`);
      return offsets.reduce((sum, { high, low }) => sum + Number(high) - Number(low), 0);
    });
    signal.addEventListener("abort", () => this.#forget());
  }

  /** Records in the dead topic; null where Kafka hasn't said. */
  get dead(): number | null {
    return this.#dead.value ?? null;
  }

  frames(): LogFrame[] {
    return this.#groups.map(({ group, looks, members, topic }) => ({
      topic,
      group,
      partitions: looks.value ?? [],
      members: members.value ?? null,
      age_ms: ageOf(looks),
    }));
  }

  async #look(namespace: string, topic: string, group: string, ends: Ends[]) {
    const admin = await this.#connected();
    try {
      const committed = await admin.fetchOffsets({
        groupId: `${namespace}${group}`,
        topics: [`${namespace}${topic}`],
      });
      // Asked for afterwards: an end that is older than a commit would make the lag negative.
      const offsets = await admin.fetchTopicOffsets(`${namespace}${topic}`);
      const at = new Map(
        committed[0]?.partitions.map((one) => [one.partition, Math.max(0, Number(one.offset))]),
      );
      return offsets
        .toSorted((a, b) => a.partition - b.partition)
        .map(({ high, partition }): [number, number, number] => {
          const done = at.get(partition) ?? 0;
          const own = (ends[partition] ??= []);
          return [Number(high), done, behindS(own, Number(high), done)];
        });
    } catch (error) {
      this.#forget();
      throw error;
    }
  }

  async #connected(): Promise<Admin> {
    const known = await brokerThatIsUp("kafka");
    if (known.address !== this.#address) this.#forget();
    this.#address = known.address;
    this.#admin ??= (async () => {
      const admin = kafkaClient(known.address).admin();
      await admin.connect();
      return admin;
    })();
    const opening = this.#admin;
    opening.catch(() => (this.#admin = undefined));
    return opening;
  }

  #forget(): void {
    void this.#admin?.then((admin) => admin.disconnect()).catch(() => {});
    this.#admin = undefined;
  }
}

/** For how long the record at the committed offset has been there. */
function behindS(ends: Ends, end: number, committed: number): number {
  const now = Date.now();
  ends.push([now, end]);
  // What is committed need not be remembered.
  while (ends.length > 1 && ends[0]![1] <= committed) ends.shift();
  if (ends.length > 1_200) ends.splice(1, 1);
  return committed >= end ? 0 : Math.round((now - ends[0]![0]) / 100) / 10;
}
