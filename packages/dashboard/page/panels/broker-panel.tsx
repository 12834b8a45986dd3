import { factsOf, modelFrame } from "../live/state.ts";
import { SIGNS, STATE_WORDS } from "../live/words.ts";
import { Do, Title } from "./side.tsx";

const NETWORK = [
  { fault: "slow", title: "A slow line: 0.8 s each way back" },
  { fault: "cut", title: "A cable pulled: silence" },
  { fault: "reset", title: "Every other connection is reset" },
];

/** The broker of a model, what travels through it, and the line to it. */
export function BrokerPanel({ model }: { model: string }) {
  const facts = factsOf(model);
  const frame = modelFrame(model);
  if (facts === undefined || frame === undefined) return null;
  const { broker, network } = frame;
  return (
    <>
      <Title>
        {facts.hasBroker ? (broker?.name === "kafka" ? "Kafka" : "RabbitMQ") : "Requests"}{" "}
        <span class="quiet">of {facts.title}</span>
      </Title>
      {broker !== undefined && (
        <>
          <p class={`state ${broker.state}`}>
            <i aria-hidden="true">{SIGNS[broker.state]}</i> {STATE_WORDS[broker.state]}{" "}
            <span class="quiet">({broker.kind})</span>
          </p>
          {broker.kind === "external" && (
            <p class="warn">It isn't the lab's own: it can't be broken from here.</p>
          )}
          <h3>The broker</h3>
          <Do
            action={{ do: "broker", model, what: "kill" }}
            disabled={broker.state === "killed" || broker.kind === "external"}
          >
            Kill
          </Do>
          <Do
            action={{ do: "broker", model, what: "restart" }}
            disabled={broker.kind === "external"}
          >
            {broker.state === "killed" ? "Start again" : "Restart"}
          </Do>
          {broker.state === "paused" ? (
            <Do action={{ do: "broker", model, what: "resume" }}>Let it go on</Do>
          ) : (
            <Do
              action={{ do: "broker", model, what: "pause" }}
              disabled={broker.state !== "up" || broker.kind === "external"}
            >
              Pause
            </Do>
          )}
        </>
      )}
      <h3>{facts.hasBroker ? "Messages" : "Requests"}</h3>
      <Do action={{ do: "poison", model }}>Send what is no order</Do>
      <Do action={{ do: "again", model }}>
        {facts.hasBroker ? "Send the newest message again" : "Send the newest order again"}
      </Do>
      {(broker?.canProxy ?? true) && (
        <>
          <h3>The line</h3>
          <p class="quiet">Its callers are started again, to lead it through a proxy.</p>
          {NETWORK.map(({ fault, title }) => (
            <Do
              key={fault}
              action={{ do: "network", model, fault }}
              pressed={network?.fault === fault}
            >
              {title}
            </Do>
          ))}
          <Do action={{ do: "network", model, fault: "" }} disabled={network === null}>
            As it should be
          </Do>
        </>
      )}
    </>
  );
}
