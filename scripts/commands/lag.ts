import { withAdmin } from "@lab/lab/probes/kafka-tools";
import { describeGroup, type LagRow, lagSummary, lagTable } from "@lab/lab/probes/lag";
import { groupsOf } from "../../streaming-kafka/tests/model.ts";
import { type Command, unknown, UsageError } from "../command.ts";
import { outputClosed, PIPE_CLOSED, print } from "../say.ts";
import { kafkaAddress } from "../stream.ts";
import { namespaceOf } from "../up/environment.ts";

const WATCH_EVERY_MS = 1_000;

export const command: Command = {
  summary: "show how far Kafka's consumer groups are behind",
  usage: "[--group NAME] [--watch]",
  details: `The table that kafka-consumer-groups --describe prints, for the groups inventory, analytics and
order-status, and each group's total. With --watch a terminal shows the tables again every second; a
file or a pipe gets them once, then a line of totals each second. LAG is the log's end minus the committed offset: records in work are part of it.

Reads KAFKA_BROKERS and LAB_NAMESPACE, the prefix of the groups, or what scripts/lab up has of them.`,
  options: {
    group: { type: "string", summary: "only this group" },
    watch: { type: "boolean", summary: "again every second, until Ctrl-C" },
  },
  async run({ options, words }) {
    if (words.length > 0) throw new UsageError("lag takes no words");
    const namespace = await namespaceOf("streaming-kafka");
    const all = groupsOf(namespace);
    const group = options["group"];
    const groups =
      typeof group === "string"
        ? all.filter((name) => name === group || name === namespace + group)
        : all;
    if (groups.length === 0) {
      throw new UsageError(unknown("group", String(group), all));
    }
    let isFirst = true;
    let isRead = true;
    void outputClosed().then(() => (isRead = false));
    await withAdmin(await kafkaAddress(), async (admin) => {
      for (;;) {
        const rows: LagRow[] = [];
        for (const name of groups) {
          rows.push(...(await describeGroup(admin, name)));
        }
        const known = new Set(rows.map((row) => row.group));
        const missing = groups.filter((name) => !known.has(name));
        const isScreen = process.stdout.isTTY && options["watch"] === true;
        if (isScreen) console.clear();
        if (isFirst || isScreen) {
          print(
            [
              ...(rows.length > 0 ? [lagTable(rows)] : []),
              ...missing.map((name) => `Consumer group '${name}' does not exist.`),
            ].join("\n\n"),
          );
        } else print(`${new Date().toISOString()}  ${lagSummary(rows)}`);
        if (options["watch"] !== true) return;
        isFirst = false;
        await Bun.sleep(WATCH_EVERY_MS);
        if (!isRead) return;
      }
    });
    return isRead ? 0 : PIPE_CLOSED;
  },
};
