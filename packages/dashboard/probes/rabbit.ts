import type { Model } from "@lab/evidence/evidence";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { brokerThatIsUp } from "@lab/lab/brokers/state";
import { Rabbitmq } from "@lab/lab/probes/rabbitmq-tools";
import type { QueueFrame } from "../contract/frame.ts";
import { ageOf, type Seen, watch } from "./watch.ts";

interface Looks {
  name: string;
  ready: Seen<number>;
  dead: Seen<number>;
  unacked: Seen<number>;
}

/** The queues of the model, from RabbitMQ itself; none where the model has no RabbitMQ. */
export class Queues {
  readonly #looks: Looks[] = [];
  #address = "";
  #rabbit: Rabbitmq | undefined;

  constructor(model: Model, namespace: () => Promise<string>, signal: AbortSignal) {
    const { broker } = factsOf(model);
    if (broker?.name !== "rabbitmq") return;
    const full = async (queue: string) => `${await namespace()}${queue}`;
    this.#looks = Object.keys(broker.queues).map((name) => ({
      name,
      ready: watch(500, signal, async () => (await this.#broker()).ready(await full(name))),
      dead: watch(1_000, signal, async () =>
        (await this.#broker()).ready(broker.deadQueue(await full(name))),
      ),
      // RabbitMQ itself counts them every 2 s.
      unacked: watch(2_000, signal, async () =>
        (await this.#broker()).unacknowledged(await full(name)),
      ),
    }));
    signal.addEventListener("abort", () => void this.#rabbit?.[Symbol.asyncDispose]());
  }

  frames(): QueueFrame[] {
    return this.#looks.map(({ dead, name, ready, unacked }) => ({
      name,
      ready: ready.value ?? null,
      unacked: unacked.value ?? null,
      dead: dead.value ?? null,
      age_ms: ageOf(ready),
      unacked_age_ms: ageOf(unacked),
    }));
  }

  /** A fresh start of the broker has another password. */
  async #broker(): Promise<Rabbitmq> {
    const known = await brokerThatIsUp("rabbitmq");
    if (this.#rabbit === undefined || known.address !== this.#address) {
      await this.#rabbit?.[Symbol.asyncDispose]();
      this.#address = known.address;
      this.#rabbit = new Rabbitmq(known);
    }
    return this.#rabbit;
  }
}
