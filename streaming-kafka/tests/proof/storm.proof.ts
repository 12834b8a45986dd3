/** Everything at once, for minutes. */
import { startProxiedKafka } from "@lab/lab/brokers/kafka";
import { freePorts } from "@lab/lab/host/ports";
import { testStorm } from "@lab/proof/kills/storm";
import { startProxy } from "@lab/lab/proxy/proxy";
import { trialOf } from "@lab/lab/experiment/trial";

testStorm("streaming-kafka", async (run) => {
  const [listener] = (await freePorts(1)) as [number];
  const proxy = await startProxy({ upstream: `127.0.0.1:${listener}` });
  // A broker of its own: its advertised port, the proxy's, is fixed when it starts.
  const advertised = Number(proxy.listen.split(":")[1]);
  const broker = await run.ownBroker("kafka", startProxiedKafka({ listener, advertised }));
  const trial = await trialOf(run, "storm", { broker, env: { KAFKA_BROKERS: proxy.listen } });
  return {
    trial,
    broker,
    links: { "services - kafka": proxy },
    async [Symbol.asyncDispose]() {
      await trial[Symbol.asyncDispose]();
      await proxy[Symbol.asyncDispose]();
      await broker.stop();
    },
  };
});
