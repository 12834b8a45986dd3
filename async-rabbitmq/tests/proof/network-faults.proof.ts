/** A bad network between the three services and RabbitMQ. */
import { experiment } from "@lab/lab/experiment/experiment";
import { brokerLinkFaults, runFaults, networkFaults } from "@lab/proof/faults/network-faults";
import { startProxy } from "@lab/lab/proxy/proxy";
import { trialOf } from "@lab/lab/experiment/trial";

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
    await runFaults(run, trial, brokerLinkFaults(proxy, 500));
  },
);
