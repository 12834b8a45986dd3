import type { Broker, BrokerName } from "./broker.ts";
import { probeKafka } from "./kafka.ts";
import { probeRabbitmq } from "./rabbitmq.ts";
import { settings } from "@lab/evidence/settings";

/** The external broker at that address. Throws when it doesn't answer. */
export async function externalBroker(name: BrokerName, address: string): Promise<Broker> {
  const variable = name === "rabbitmq" ? "AMQP_URL" : "KAFKA_BROKERS";
  const managementUrl =
    name === "rabbitmq" ? settings().rabbitmqManagementUrl || undefined : undefined;
  const versions = await (
    name === "rabbitmq" ? probeRabbitmq(address, managementUrl) : probeKafka(address)
  ).catch((error: Error) => {
    const where = process.env[variable] ? `${variable} is set` : `${variable} was set`;
    throw new Error(`${where}, but ${name} doesn't answer there: ${error.message}`);
  });
  const notOurs = async () => {
    throw new Error(
      `${name} is an external broker (${variable}): the lab doesn't stop it. Unset ${variable} for a private one.`,
    );
  };
  const nothing = async () => {};
  return {
    kind: "external",
    name,
    address,
    ...(managementUrl === undefined ? {} : { managementUrl }),
    versions,
    kill: notOurs,
    start: notOurs,
    pause: notOurs,
    resume: notOurs,
    stop: nothing,
    [Symbol.asyncDispose]: nothing,
  };
}
