/** A bad network between the three services and Kafka. */
import { experiment } from "@lab/lab/experiment/experiment";
import { startProxiedKafka } from "@lab/lab/brokers/kafka";
import { freePorts } from "@lab/lab/host/ports";
import { brokerLinkFaults, runFaults, networkFaults } from "@lab/proof/faults/network-faults";
import { startProxy } from "@lab/lab/proxy/proxy";
import { trialOf } from "@lab/lab/experiment/trial";

experiment(
  networkFaults(
    "streaming-kafka",
    "A TCP proxy stands between the services and Kafka; a listener of Kafka's own tells its clients the proxy's port. Half-open connections are silent for good, and have to be given up.",
    "An answer other than 202.",
  ),
  async (run) => {
    const [listener] = (await freePorts(1)) as [number];
    await using proxy = await startProxy({ upstream: `127.0.0.1:${listener}` });
    // A broker of its own: its advertised port, the proxy's, is fixed when it starts.
    const advertised = Number(proxy.listen.split(":")[1]);
    await using broker = await run.ownBroker("kafka", startProxiedKafka({ listener, advertised }));
    await using trial = await trialOf(run, "network", {
      broker,
      env: { KAFKA_BROKERS: proxy.listen },
    });
    await runFaults(run, trial, brokerLinkFaults(proxy, 300));
  },
);
