/**
 * Yardstick: consume, publish confirmed, acknowledge, with nothing in between.
 *
 *   bun rabbitmq-relay.ts AMQP_URL QUEUE EXCHANGE ROUTING_KEY COUNT PREFETCH
 *
 * Takes COUNT messages of a queue, publishes each to the exchange, acknowledges it once it is
 * confirmed, and prints the messages per second from the first delivery on.
 */
import { connect } from "amqplib";

const [url = "", queue = "", exchange = "", key = "", count = "", prefetch = ""] =
  process.argv.slice(2);

const connection = await connect(url);
const channel = await connection.createConfirmChannel();
await channel.prefetch(Number(prefetch));
const done = Promise.withResolvers<void>();
let fromMs = 0;
let left = Number(count);
await channel.consume(queue, (message) => {
  if (message === null) return done.reject(new Error(`${queue} was deleted`));
  fromMs ||= performance.now();
  channel.publish(exchange, key, message.content, { persistent: true }, (error: unknown) => {
    if (error) return done.reject(error as Error);
    channel.ack(message);
    left -= 1;
    if (left === 0) done.resolve();
  });
});
await done.promise;
const perS = Number(count) / ((performance.now() - fromMs) / 1_000);
// Answered after all acknowledgements that were sent before.
await channel.checkQueue(queue);
await connection.close();
console.log(JSON.stringify({ event: "done", per_s: perS }));
