// What the page may do, checked and done; each answer says what has become of it.
import { type Model, validated } from "@lab/evidence/evidence";
import { serviceRuns } from "@lab/lab/brokers/state";
import { untilHealthy } from "@lab/lab/services/health";
import { setFaults } from "@lab/lab/services/set-faults";
import { beginReplay } from "@lab/lab/probes/replay";
import { Type } from "@sinclair/typebox";
import { replayLetter } from "../actions/letters.ts";
import { toldBy } from "../actions/load.ts";
import { poison, sendAgain } from "../actions/messages.ts";
import { breakBroker, healBroker, kill, pause, restart, resume } from "../actions/services.ts";
import type { Action } from "../contract/commands.ts";
import type { Feed } from "./feed.ts";
import type { Click } from "../contract/frame.ts";
import type { Lab } from "../contract/lab.ts";
import { Tour } from "./tour.ts";
import type { Watched } from "./watched.ts";

/** Ample time for a service to connect to its broker after its start. */
const UP_TIMEOUT_MS = 15_000;
/** So many clicks are listed. */
const MOST_CLICKS = 8;
/** A burst of a class, and a rate that a laptop keeps. */
const MOST = 10_000;

const closed = { additionalProperties: false };
const text = Type.String({ maxLength: 200 });
const models = Type.Array(text, { minItems: 1, maxItems: 3 });
const literals = (...names: string[]) => Type.Union(names.map((name) => Type.Literal(name)));
const HANDS = literals("kill", "restart", "pause", "resume");
const Request = Type.Union([
  Type.Object({ do: literals("place"), models }, closed),
  Type.Object(
    { do: literals("burst"), models, count: Type.Integer({ minimum: 1, maximum: MOST }) },
    closed,
  ),
  Type.Object(
    { do: literals("steady"), models, per_minute: Type.Integer({ minimum: 0, maximum: MOST }) },
    closed,
  ),
  Type.Object({ do: HANDS, model: text, service: text }, closed),
  Type.Object(
    {
      do: literals("faults"),
      model: text,
      service: text,
      faults: Type.Record(text, Type.Union([Type.Number(), Type.Boolean()])),
    },
    closed,
  ),
  Type.Object({ do: literals("broker"), model: text, what: HANDS }, closed),
  Type.Object({ do: literals("poison", "again"), model: text }, closed),
  Type.Object(
    { do: literals("network"), model: text, fault: literals("", "slow", "cut", "reset") },
    closed,
  ),
  Type.Object({ do: literals("without"), model: text, names: Type.Array(text) }, closed),
  Type.Object(
    {
      do: literals("letter"),
      model: text,
      queue: text,
      which: text,
      body: Type.Optional(Type.String({ maxLength: 1_000_000 })),
    },
    closed,
  ),
  Type.Object(
    { do: literals("predict"), step: text, answer: Type.Integer({ minimum: 0, maximum: 2 }) },
    closed,
  ),
  Type.Object({ do: literals("replay", "export", "heal") }, closed),
]);

export class Actions {
  readonly #feed: Feed;
  readonly #lab: Lab;
  readonly tour: Tour;
  readonly #watched: readonly Watched[];
  #clicks = 0;

  constructor(lab: Lab, feed: Feed, watched: readonly Watched[]) {
    this.#lab = lab;
    this.#feed = feed;
    this.#watched = watched;
    this.tour = new Tour({ models: watched, act: (action) => this.#does(action) });
  }

  /** Does it; returns a sentence for the person. Throws, with what to type where that helps. */
  async do(body: unknown): Promise<string> {
    return this.#does(validated("the action", Request, body) as Action);
  }

  async #does(action: Action): Promise<string> {
    switch (action.do) {
      case "place":
        return this.#place(action.models);
      case "burst": {
        // It goes on while the page shows it; every answer is counted there.
        for (const { model, url } of await this.#orderUrls(action.models)) {
          this.#of(model)
            .customers.burst(url, action.count)
            .catch(() => {});
        }
        return `${action.count} orders are being placed`;
      }
      case "steady":
        for (const { model, url } of await this.#orderUrls(action.models)) {
          this.#of(model).customers.steady(url, action.per_minute);
        }
        this.#feed.load = action.per_minute === 0 ? "" : `${action.per_minute} orders a minute`;
        return action.per_minute === 0 ? "no more orders are placed" : this.#feed.load;
      case "kill":
      case "restart":
      case "pause":
      case "resume":
        return this.#handle(action.do, this.#of(action.model), action.service);
      case "faults": {
        const service = await this.#of(action.model).service(action.service);
        await setFaults(service, action.faults);
        return Object.keys(action.faults).length === 0 ? "faults are off" : "the fault is on";
      }
      case "broker":
        await breakBroker(this.#of(action.model).model, action.what);
        return `the broker: ${action.what}`;
      case "poison": {
        const one = this.#of(action.model);
        const order = await one.service(one.facts.services[0]);
        return poison(one.model, await one.namespace(), order.url);
      }
      case "again":
        return this.#again(this.#of(action.model));
      case "network":
        return this.#network(this.#of(action.model), action.fault);
      case "without":
        return this.#without(this.#of(action.model), action.names);
      case "letter":
        return replayLetter(this.#of(action.model), action);
      case "replay":
        return this.#replay();
      case "predict":
        return this.tour.predict(action.step, action.answer);
      case "export":
        return `written: scripts/lab report ${await this.tour.export()}`;
      case "heal":
        return this.#heal();
    }
  }

  async #place(names: readonly string[]): Promise<string> {
    const click: Click = {
      n: ++this.#clicks,
      at_ms: Date.now(),
      orders: names.map((name) => ({
        model: this.#of(name).model,
        order_id: null,
        said: "",
        status: "on its way",
        ms: null,
      })),
    };
    this.#feed.clicks = [click, ...this.#feed.clicks].slice(0, MOST_CLICKS);
    // The same order in each model.
    const order = { user_id: "you", items: [{ sku: "burger", qty: 1 }] };
    await Promise.all(
      (await this.#orderUrls(names)).map(async ({ model, url }) => {
        const row = click.orders.find((one) => one.model === model)!;
        const outcome = await this.#of(model).customers.place(url, order);
        row.order_id = outcome.order_id ?? null;
        row.said = toldBy(outcome);
        if (outcome.kind !== "ok") row.status = outcome.kind === "unknown" ? "unknown" : "refused";
      }),
    );
    return click.orders.map(({ said }) => said).join(" · ");
  }

  async #handle(what: "kill" | "restart" | "pause" | "resume", one: Watched, name: string) {
    const service = await one.service(name);
    switch (what) {
      case "kill":
        await kill(service);
        return `${name} is dead`;
      case "pause":
        await pause(service);
        return `${name} is paused: it is there, and answers nothing`;
      case "resume":
        resume(service);
        return `${name} goes on`;
      case "restart":
        await restart(this.#lab, one.model, [name], envOf(one));
        return `${name} runs again, on its data`;
    }
  }

  async #again(one: Watched): Promise<string> {
    const order = await one.service(one.facts.services[0]);
    if (one.facts.broker !== undefined) {
      const id = await sendAgain(one.model, await one.namespace(), order.database);
      one.repeated.push(id);
      return `OrderPlaced of ${id} was sent again`;
    }
    const { last } = one.customers;
    if (last === undefined) throw new Error("place an order first");
    const outcome = await one.customers.place(order.url, last.order, last.key);
    if (outcome.order_id !== undefined) one.repeated.push(outcome.order_id);
    const isSame = outcome.order_id === last.order_id;
    return `answered ${toldBy(outcome)}: ${isSame ? "the same order" : "another order"}`;
  }

  async #network(one: Watched, fault: string): Promise<string> {
    if (fault === "") {
      await one.line.mend(withoutOf(one));
      return "the line is direct again";
    }
    await one.line.spoil(fault, withoutOf(one));
    return `the line is bad: ${fault}`;
  }

  async #without(one: Watched, names: string[]): Promise<string> {
    const known = await this.#lab.protectionsOf(one.model);
    const wrong = names.filter((name) => !known.includes(name));
    if (wrong.length > 0) throw new Error(`${one.model} has no protection ${wrong.join(", ")}`);
    one.without = names;
    await restart(this.#lab, one.model, one.facts.services, envOf(one));
    return names.length === 0 ? "all protections are back" : `runs without ${names.join(", ")}`;
  }

  async #replay(): Promise<string> {
    const one = this.#watched.find(({ facts }) => facts.downstream === "analytics");
    if (one === undefined) throw new Error("there is no stream to replay");
    await beginReplay((await one.service(one.facts.services[2])).url);
    return "the metrics are computed again, from the start of the log";
  }

  /**
   * Gives those models back what only this page knows that they lack: protections, and the direct
   * line, without which they could not go on after its end.
   */
  async giveBack(models: readonly Model[]): Promise<void> {
    for (const one of this.#watched) if (models.includes(one.model)) await this.#giveBack(one);
  }

  async #giveBack(one: Watched): Promise<void> {
    const wasWithout = one.without.length > 0;
    one.without = [];
    await one.line.mend({});
    if (wasWithout) await restart(this.#lab, one.model, one.facts.services);
  }

  /** Ends every fault, brings back every process and every protection. */
  async #heal(): Promise<string> {
    // Services start under one lock: side by side they would only wait for it.
    for (const one of this.#watched) await this.#healOne(one);
    const services = await Promise.all(this.#watched.map((one) => one.services()));
    await Promise.all(services.flat().map((service) => untilHealthy(service, UP_TIMEOUT_MS)));
    return "all is whole";
  }

  /** Looks afresh: what the page shows is half a second old. */
  async #healOne(one: Watched): Promise<void> {
    const services = await one.services();
    if (services.length === 0) return;
    await healBroker(one.model);
    for (const service of services) resume(service);
    await this.#giveBack(one);
    const ended = (await one.services()).filter((service) => !serviceRuns(service));
    if (ended.length > 0) {
      await restart(
        this.#lab,
        one.model,
        ended.map(({ name }) => name),
      );
    }
    for (const service of services) await setFaults(service, {});
  }

  async #orderUrls(names: readonly string[]) {
    return Promise.all(
      names.map(async (name) => {
        const one = this.#of(name);
        return { model: one.model, url: (await one.service(one.facts.services[0])).url };
      }),
    );
  }

  #of(name: string): Watched {
    const found = this.#watched.find(({ model }) => model === name);
    if (found === undefined) throw new Error(`there is no model ${name} on this page`);
    return found;
  }
}

/** What a service that is started again needs to stay as it was. */
function envOf(one: Watched): Record<string, string> {
  return { ...withoutOf(one), ...one.line.env };
}

function withoutOf({ without }: Watched): Record<string, string> {
  return without.length === 0 ? {} : { LAB_WITHOUT: without.join(",") };
}
