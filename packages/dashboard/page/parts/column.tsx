import type { ModelFrame, ServiceFrame } from "../../contract/frame.ts";
import { faultText } from "../../contract/commands.ts";
import type { Dots } from "../live/dots.ts";
import { type Facts, frame, open, tab } from "../live/state.ts";
import { ms, number, percent, roleOf, SIGNS, STATE_WORDS } from "../live/words.ts";
import { Lamps } from "./lamps.tsx";
import { Wait } from "./waits.tsx";

const SAYS: Record<string, string> = {
  sync: "everybody waits for everybody",
  async: "messages wait in queues",
  stream: "a log keeps everything",
};

const STEPS = ["Accept the order", "Reserve stock", "Tell the customer"];

export function Column({ at, dots, facts }: { facts: Facts; at: number; dots: Dots }) {
  const model = frame.value!.models[at]!;
  const pick = (event: MouseEvent) => {
    if ((event.target as HTMLElement).closest("button")) return;
    const { left, top } = (event.currentTarget as HTMLElement).getBoundingClientRect();
    const suffix = dots.at(event.clientX - left, event.clientY - top);
    if (suffix !== undefined) open({ kind: "order", model: facts.model, suffix });
  };
  return (
    <article
      id={`column-${at}`}
      class={tab.value === at ? "column chosen" : "column"}
      aria-labelledby={`title-${at}`}
      onClick={pick}
    >
      <header>
        <h2 id={`title-${at}`}>
          <span class="part">{facts.part}</span> {facts.title}
        </h2>
        <p class="quiet">{SAYS[facts.name]}</p>
      </header>
      <Figures model={model} />
      <Customer model={model} facts={facts} />
      <Service facts={facts} service={model.services[0]} step={1} station={0} model={model} />
      <Wait facts={facts} model={model} which={0} station={1} />
      <Service facts={facts} service={model.services[1]} step={2} station={2} model={model} />
      <Wait facts={facts} model={model} which={1} station={3} />
      <Service facts={facts} service={model.services[2]} step={3} station={4} model={model} />
      <Broker facts={facts} model={model} />
      <Lamps facts={facts} model={model} />
      <canvas ref={(canvas) => dots.attach(canvas)} aria-hidden="true" />
    </article>
  );
}

function Figures({ model: { stats } }: { model: ModelFrame }) {
  const rows = [
    { name: "to the answer", of: stats.answer },
    { name: "to the end", of: stats.end },
  ];
  return (
    <div class="figures">
      <table>
        <thead>
          <tr>
            <th>last minute</th>
            <th scope="col">p50</th>
            <th scope="col">p95</th>
            <th scope="col">p99</th>
          </tr>
        </thead>
        <tbody>
          {rows.map(({ name, of }) => (
            <tr key={name}>
              <th scope="row">{name}</th>
              <td>{ms(of?.p50)}</td>
              <td>{ms(of?.p95)}</td>
              <td>{ms(of?.p99)}</td>
            </tr>
          ))}
        </tbody>
      </table>
      <dl>
        <div>
          <dt>orders/min</dt>
          <dd>{number(stats.per_minute)}</dd>
        </div>
        <div>
          <dt>failed</dt>
          <dd>{percent(stats.failure_rate)}</dd>
        </div>
        <div>
          <dt>under way</dt>
          <dd>{number(stats.open)}</dd>
        </div>
      </dl>
    </div>
  );
}

/** What customers were told in the last minute. */
function Customer({ facts, model: { stats } }: { model: ModelFrame; facts: Facts }) {
  const ending = facts.downstream === "notification" ? "" : "later: asks";
  return (
    <div class="row customer">
      <div>
        <h3>Customer</h3>
        {stats.told.length === 0 ? (
          <p class="quiet">no order from this page in the last minute</p>
        ) : (
          <ul class="told">
            {stats.told.map(([what, times]) => (
              <li key={what} class={what.startsWith("20") ? "" : "bad"}>
                {what} <b>× {number(times)}</b>
              </li>
            ))}
          </ul>
        )}
        {stats.waiting > 0 && <p class="warn">{number(stats.waiting)} wait for an answer</p>}
        {ending !== "" && stats.told.length > 0 && <p class="quiet">{ending}</p>}
      </div>
      <div class="tray" />
    </div>
  );
}

function Service({
  facts,
  model,
  service,
  station,
  step,
}: {
  facts: Facts;
  model: ModelFrame;
  service: ServiceFrame | undefined;
  station: number;
  step: number;
}) {
  if (service === undefined) return <div class="row" />;
  const { faults = {}, name, state, struck, waits_for } = service;
  const what = step === 3 && facts.downstream === "analytics" ? "Count" : STEPS[step - 1];
  const owed = Object.entries(service.owed).filter(([, n]) => n > 0);
  return (
    <div class={`row service ${state}`}>
      <button
        type="button"
        class="card"
        onClick={() => open({ kind: "service", model: model.model, service: name })}
      >
        <span class="step">
          {step}. {what}
        </span>
        <span class="name">
          {roleOf(name)}
          <span class="unseen"> of {facts.title}</span>
        </span>{" "}
        <span class={`state ${state}`}>
          <i aria-hidden="true">{SIGNS[state]}</i> {STATE_WORDS[state]}
        </span>
        {Object.entries(faults).map(([fault, value]) => (
          <span key={fault} class="fault">
            {faultText(fault, value)}, struck {number(struck)}×
          </span>
        ))}
        {model.without.length > 0 && <span class="fault">without {model.without.join(", ")}</span>}
        {state === "recovering" && waits_for[0] && <span class="quiet line">{waits_for[0]}</span>}
        {owed.length > 0 && (
          <span class="quiet line">
            owes {owed.map(([kind, n]) => `${number(n)} ${kind}`).join(", ")}
          </span>
        )}
      </button>
      <div class="tray station" data-station={station} />
    </div>
  );
}

function Broker({ facts, model }: { facts: Facts; model: ModelFrame }) {
  const { broker, deadLetters, network } = model;
  if (!facts.hasBroker) {
    return (
      <div class="row broker">
        <button
          type="button"
          class="card flat"
          onClick={() => open({ kind: "broker", model: model.model })}
        >
          <span class="name">The line to Inventory</span>
          <span class={network === null ? "state up" : "fault"}>
            {network === null ? "● direct" : `${network.fault}, struck ${number(network.struck)}×`}
          </span>
        </button>
      </div>
    );
  }
  const state = broker?.state ?? "absent";
  return (
    <div class="row broker">
      <button
        type="button"
        class="card flat"
        onClick={() => open({ kind: "broker", model: model.model })}
      >
        <span class="name">{broker?.name === "kafka" ? "Kafka" : "RabbitMQ"}</span>
        <span class={`state ${state}`}>
          <i aria-hidden="true">{SIGNS[state]}</i> {STATE_WORDS[state]}
        </span>
        {network !== null && (
          <span class="fault">
            line {network.fault}, struck {number(network.struck)}×
          </span>
        )}
      </button>
      <button
        type="button"
        class="letters"
        onClick={() => open({ kind: "letters", model: model.model })}
      >
        {number(deadLetters)} dead {deadLetters === 1 ? "letter" : "letters"}
      </button>
    </div>
  );
}
