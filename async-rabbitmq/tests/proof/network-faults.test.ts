/** A bad network between the three services and RabbitMQ. */
import { experiment } from "@lab/lab/experiment";
import { goThrough, networkFaults } from "@lab/lab/proof/network-faults";
import { startProxy } from "@lab/lab/proxy";
import { trialOf } from "@lab/lab/trial";

experiment(
  networkFaults(
    "async-rabbitmq",
    "A TCP proxy stands between the services and RabbitMQ. Half-open connections are silent for good, and have to be noticed by their heartbeat.",
    "An answer other than 202.",
  ),
  async (run) => {
    const broker = await run.broker("rabbitmq");
    const address = new URL(broker.address);
    await using proxy = await startProxy({ upstream: address.host });
    address.host = proxy.listen;
    await using trial = await trialOf(run, "network", {
      broker,
      env: { AMQP_URL: address.href },
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
        delaysMs: 500,
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
        delaysMs: 500,
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
