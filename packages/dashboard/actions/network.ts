// A bad line between a service and Inventory, or between the services and their broker: the lab's TCP proxy.
import type { Model } from "@lab/evidence/evidence";
import { factsOf } from "@lab/lab/brokers/model-facts";
import { readState } from "@lab/lab/brokers/state";
import { type FaultProxy, startProxy } from "@lab/lab/proxy/proxy";
import type { ToxicRequest } from "@lab/lab/proxy/toxics";
import type { Lab } from "../contract/lab.ts";
import { brokerVariable, restart } from "./services.ts";

/** The faults, in toxiproxy's words. */
const NETWORK_FAULTS: Record<string, ToxicRequest[]> = {
  slow: [{ type: "latency", attributes: { latency: 800, jitter: 200 } }],
  cut: [
    { type: "timeout", stream: "downstream" },
    { type: "timeout", stream: "upstream" },
  ],
  reset: [{ type: "reset_peer", toxicity: 0.5 }],
};

/** The line of one model, direct as long as nothing is wrong with it. */
export class Line {
  readonly #lab: Lab;
  readonly #model: Model;
  #proxy: FaultProxy | undefined;
  #fault = "";
  /** The variable with which the callers find the proxy; none while the line is direct. */
  env: Record<string, string> = {};

  constructor(lab: Lab, model: Model) {
    this.#lab = lab;
    this.#model = model;
  }

  get fault(): { fault: string; struck: number } | null {
    if (this.#proxy === undefined) return null;
    return { fault: this.#fault, struck: this.#proxy.counters.struck };
  }

  /**
   * Leads the line through a proxy, which restarts its callers, and spoils it. Throws where the
   * broker has no listener for that.
   */
  async spoil(fault: string, env: Record<string, string>): Promise<void> {
    if (this.#proxy === undefined) {
      const { callers, variable, viaProxy, ...ends } = await this.#ends();
      const proxy = await startProxy(ends);
      this.#proxy = proxy;
      this.#fault = fault;
      this.env = { [variable]: viaProxy(proxy.listen) };
      await restart(this.#lab, this.#model, callers, { ...env, ...this.env });
    }
    this.#fault = fault;
    this.#proxy.clear();
    for (const toxic of NETWORK_FAULTS[fault] ?? []) this.#proxy.add(toxic);
  }

  /** Makes it direct again, which restarts its callers. */
  async mend(env: Record<string, string>): Promise<void> {
    const proxy = this.#proxy;
    if (proxy === undefined) return;
    proxy.clear();
    this.env = {};
    const { callers } = await this.#ends();
    await restart(this.#lab, this.#model, callers, env);
    await proxy[Symbol.asyncDispose]();
    this.#proxy = undefined;
  }

  /** Ends the proxy, when the page ends. */
  async close(): Promise<void> {
    await this.#proxy?.[Symbol.asyncDispose]();
  }

  async #ends() {
    const { calls, services } = factsOf(this.#model);
    const { brokers, services: up } = await readState();
    const variable = brokerVariable(this.#model);
    if (variable === undefined) {
      const [name, service] = Object.entries(calls)[0]!;
      const { host } = new URL(
        up.find((one) => one.model === this.#model && one.name === service)!.url,
      );
      const viaProxy = (listen: string) => `http://${listen}`;
      return { callers: [services[0]], upstream: host, variable: name, viaProxy };
    }
    if (factsOf(this.#model).broker?.name === "kafka") {
      const { proxied } = brokers.kafka!;
      if (proxied === undefined) {
        throw new Error("only a Kafka that scripts/lab up has started can have a bad line");
      }
      // Its clients are sent on to the address that this listener tells.
      const listen = `127.0.0.1:${proxied.advertised}`;
      const upstream = `127.0.0.1:${proxied.listener}`;
      const viaProxy = () => listen;
      return { callers: [...services], upstream, listen, variable, viaProxy };
    }
    const { address } = brokers.rabbitmq!;
    const { host } = new URL(address);
    const viaProxy = (listen: string) => address.replace(host, listen);
    return { callers: [...services], upstream: host, variable, viaProxy };
  }
}
