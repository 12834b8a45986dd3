// The addresses of the streaming model, for the commands that inspect it.
import { settings } from "@lab/evidence/settings";
import { readState, serviceRuns } from "@lab/lab/brokers/state";

/** The address of Kafka: `KAFKA_BROKERS`, or the broker of `lab up`. Throws with the command to type when there is none. */
export async function kafkaAddress(): Promise<string> {
  const { kafkaBrokers } = settings();
  if (kafkaBrokers) return kafkaBrokers;
  const { brokers } = await readState();
  if (brokers.kafka !== undefined) return brokers.kafka.address;
  throw new Error("no Kafka to look at: scripts/lab up stream, or set KAFKA_BROKERS");
}

/** The URL of Analytics: `ANALYTICS_URL`, or the one of `lab up`. Throws with the command to type when it doesn't run. */
export async function analyticsUrl(): Promise<string> {
  const { analyticsUrl: url } = settings();
  if (url) return url.replace(/\/$/, "");
  const { services } = await readState();
  const found = services.find((one) => one.name === "analytics-consumer");
  if (found !== undefined && serviceRuns(found)) return found.url;
  throw new Error("no Analytics to ask: scripts/lab up stream, or set ANALYTICS_URL");
}
