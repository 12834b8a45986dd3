import { examine } from "@lab/lab/machine/doctor";
import { hasKafkaJars, kafkaFolder } from "@lab/lab/brokers/kafka/kafka-jars";
import { textTable } from "@lab/lab/host/text-table";
import { isFree } from "@lab/lab/host/ports";
import { readState, serviceRuns } from "@lab/lab/brokers/state";
import { type Command, UsageError } from "../command.ts";
import { fixedPorts, MODELS } from "../models.ts";

export const command: Command = {
  summary: "show what this machine has, what is missing and what to type",
  usage: "",
  async run({ words }) {
    if (words.length > 0) throw new UsageError("doctor takes no words");
    const findings = examine(hasKafkaJars() ? kafkaFolder : undefined);
    const programs = findings.map(({ found, needed, otherwise, title }) => [
      found !== undefined ? "ok" : needed ? "MISSING" : "-",
      title,
      found ?? otherwise,
    ]);
    console.log(`${textTable(programs).join("\n")}\n`);
    console.log(textTable(await portRows()).join("\n"));
    const missing = findings.some((one) => one.needed && !one.found);
    return missing ? 1 : 0;
  },
};

/** The fixed ports of `up` and the processes that use them. */
async function portRows(): Promise<string[][]> {
  const { services } = await readState();
  const ours = new Set(services.filter(serviceRuns).map(({ url }) => Number(new URL(url).port)));
  const wanted = Object.values(MODELS).flatMap((one) =>
    Object.entries(fixedPorts(one)).map(
      ([service, port]) => [port, `${one.model}/${service}`] as const,
    ),
  );
  return Promise.all(
    wanted.map(async ([port, service]) => {
      const free = await isFree(port);
      const user = free ? "free" : ours.has(port) ? "it is up" : "another program has it";
      return [free || ours.has(port) ? "ok" : "IN USE", `port ${port}, ${service}`, user];
    }),
  );
}
