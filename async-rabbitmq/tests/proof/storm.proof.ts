/** Everything at once, for minutes. */
import { ownBroker } from "@lab/proof/common";
import { testStorm } from "@lab/proof/kills/storm";
import { startProxy } from "@lab/lab/proxy/proxy";
import { trialOf } from "@lab/lab/experiment/trial";

testStorm("async-rabbitmq", async (run) => {
  const own = await ownBroker(run, "rabbitmq");
  const { broker } = own;
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
      await own[Symbol.asyncDispose]();
    },
  };
});
