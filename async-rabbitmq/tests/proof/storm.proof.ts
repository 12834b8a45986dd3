/** Everything at once, for minutes. */
import { testStorm } from "@lab/proof/kills/storm";
import { startProxy } from "@lab/lab/proxy/proxy";
import { trialOf } from "@lab/lab/experiment/trial";

testStorm("async-rabbitmq", async (run) => {
  const broker = await run.ownBroker("rabbitmq");
  const address = new URL(broker.address);
  const proxy = await startProxy({ upstream: address.host });
  address.host = proxy.listen;
  const trial = await trialOf(run, "storm", { broker, env: { AMQP_URL: address.href } });
  return {
    trial,
    broker,
    links: { "services - rabbitmq": proxy },
    async [Symbol.asyncDispose]() {
      await trial[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await broker.stop();
    },
  };
});
