/**
 * Yardstick: plain confirmed publishing to one exchange.
 *
 *   bun rabbitmq-publish.ts AMQP_URL EXCHANGE ROUTING_KEY COUNT BYTES OUTSTANDING
 *
 * Publishes COUNT messages of that size, with so many unconfirmed at a time, and prints the
 * messages per second.
 */
import { connect } from "amqplib";

const [url = "", exchange = "", key = "", count = "", bytes = "", outstanding = ""] =
  process.argv.slice(2);

const connection = await connect(url);
const channel = await connection.createConfirmChannel();
const body = Buffer.alloc(Number(bytes), "x");
const done = Promise.withResolvers<void>();
const fromMs = performance.now();
let begun = 0;
let confirmed = 0;
function publishNext(): void {
  begun += 1;
  channel.publish(exchange, key, body, { persistent: true }, (error: unknown) => {
    if (error) return done.reject(error as Error);
    confirmed += 1;
    if (confirmed === Number(count)) done.resolve();
    else if (begun < Number(count)) publishNext();
  });
}
while (begun < Math.min(Number(outstanding), Number(count))) publishNext();
await done.promise;
const perS = Number(count) / ((performance.now() - fromMs) / 1_000);
await connection.close();
console.log(JSON.stringify({ event: "done", per_s: perS }));
