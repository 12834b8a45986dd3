/** RabbitMQ dies, hangs, and has no disk left, under load. */
import { testBrokerFaults } from "@lab/proof/faults/broker-faults";
import { rabbitmqctl } from "@lab/lab/brokers/rabbitmqctl";

/** More than any disk has: RabbitMQ raises its alarm at once, and reads from no publisher any more. */
const NO_DISK_LEFT = "1000000GB";
const DEFAULT_LIMIT = "50MB";

testBrokerFaults({
  model: "async-rabbitmq",
  broker: "rabbitmq",
  ownMethod:
    "; a free-disk limit that no disk can meet, which blocks publishers; and the same with a stop of every service",
  own(broker, trial) {
    const alarm = {
      strike: async () => void (await rabbitmqctl(broker, "set_disk_free_limit", NO_DISK_LEFT)),
      lift: async () => void (await rabbitmqctl(broker, "set_disk_free_limit", DEFAULT_LIMIT)),
    };
    return [
      { ...alarm, name: "disk alarm", meanwhile: (orders) => orders.more(300) },
      {
        ...alarm,
        name: "disk alarm, and every service stops",
        stopsAfter: 50,
        async lift() {
          // A start doesn't wait for the broker either.
          await Promise.all(trial.campus.services.map((service) => service.restart()));
          await alarm.lift();
        },
      },
    ];
  },
});
