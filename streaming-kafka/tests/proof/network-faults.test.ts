/** A bad network between the three services and Kafka. */
import { experiment } from "@lab/lab/experiment";
import { startProxiedKafka } from "@lab/lab/kafka";
import { freePorts } from "@lab/lab/ports";
import { goThrough, networkFaults } from "@lab/lab/proof/network-faults";
import { startProxy } from "@lab/lab/proxy";
import { trialOf } from "@lab/lab/trial";

experiment(
  networkFaults(
    "streaming-kafka",
    "A TCP proxy stands between the services and Kafka; a listener of Kafka's own tells its clients the proxy's port. Half-open connections are silent for good, and have to be given up.",
    "An answer other than 202.",
  ),
  async (run) => {
    const [listener] = (await freePorts(1)) as [number];
    await using proxy = await startProxy({ upstream: `127.0.0.1:${listener}` });
    // Private: what a broker tells its clients is settled when it starts.
    const advertised = Number(proxy.listen.split(":")[1]);
    await using broker = await startProxiedKafka({ listener, advertised });
    run.evidence.brokers = broker.kind;
    Object.assign(run.evidence.versions, broker.versions);
    await using trial = await trialOf(run, "network", {
      broker,
      env: { KAFKA_BROKERS: proxy.listen },
    });
    await goThrough(run, trial, [
      {
        name: "latency, 80 ± 20 ms each way",
        proxy,
        toxics: [
          { type: "latency", stream: "upstream", attributes: { latency: 80, jitter: 20 } },
          { type: "latency", stream: "downstream", attributes: { latency: 80, jitter: 20 } },
        ],
        lastsS: 1.5,
        delaysMs: 300,
      },
      {
        name: "bandwidth, 30 KB/s each way",
        proxy,
        toxics: [
          { type: "bandwidth", stream: "upstream", attributes: { rate: 30 } },
          { type: "bandwidth", stream: "downstream", attributes: { rate: 30 } },
        ],
        lastsS: 1.5,
        delaysMs: 500,
      },
      {
        name: "cut again and again (reset_peer upstream)",
        proxy,
        toxics: [{ type: "reset_peer", stream: "upstream" }],
        lastsS: 1.5,
        delaysMs: 1_000,
      },
      {
        name: "cut in the middle (limit_data, 5,000 bytes downstream)",
        proxy,
        toxics: [{ type: "limit_data", attributes: { bytes: 5_000 } }],
        lastsS: 1.5,
        delaysMs: 300,
      },
      {
        name: "down",
        proxy,
        toxics: "down",
        lastsS: 5,
        delaysMs: 4_000,
      },
      {
        name: "half-open",
        proxy,
        toxics: "half-open",
        lastsS: 1,
        delaysMs: 5_000,
      },
    ]);
  },
);
