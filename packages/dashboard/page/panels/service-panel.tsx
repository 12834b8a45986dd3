import { factsOf, modelFrame } from "../live/state.ts";
import { age, number, roleOf, SIGNS, STATE_WORDS, times } from "../live/words.ts";
import { Do, Title } from "./side.tsx";

type Faults = Record<string, number | boolean>;

const FAULTS: { title: string; faults: Faults }[] = [
  { title: "2 s slower", faults: { delay_ms: 2_000 } },
  { title: "5 s slower", faults: { delay_ms: 5_000 } },
  { title: "Fails 5 %", faults: { fail_rate: 0.05 } },
  { title: "Fails always", faults: { fail_rate: 1 } },
  { title: "Hangs", faults: { hang: true } },
  { title: "Throttled: 100 ms for each message", faults: { throttle_ms: 100 } },
];

/** A service: how it is, and everything that can be done to it. */
export function ServicePanel({ model, service: name }: { model: string; service: string }) {
  const service = modelFrame(model)?.services.find((one) => one.name === name);
  const facts = factsOf(model);
  if (service === undefined || facts === undefined) return <p>It isn't there any more.</p>;
  const { faults, pid, state, struck, url, waits_for } = service;
  const runs = state !== "killed" && state !== "absent";
  return (
    <>
      <Title>
        {roleOf(name)} <span class="quiet">of {facts.title}</span>
      </Title>
      <p class={`state ${state}`}>
        <i aria-hidden="true">{SIGNS[state]}</i> {STATE_WORDS[state]}
      </p>
      <dl class="facts">
        <dt>process</dt>
        <dd>{runs ? pid : "–"}</dd>
        <dt>address</dt>
        <dd>{url || "–"}</dd>
        <dt>it said so</dt>
        <dd>{age(service.age_ms)}</dd>
        {Object.entries(service.owed).map(([kind, n]) => (
          <>
            <dt>owes: {kind}</dt>
            <dd>{number(n)}</dd>
          </>
        ))}
      </dl>
      {waits_for.map((what) => (
        <p key={what} class="warn">
          {what}
        </p>
      ))}
      <h3>The process</h3>
      <Do action={{ do: "kill", model, service: name }} disabled={!runs}>
        Kill
      </Do>
      <Do action={{ do: "restart", model, service: name }} disabled={state === "absent"}>
        {runs ? "Restart" : "Start again"}
      </Do>
      {state === "paused" ? (
        <Do action={{ do: "resume", model, service: name }}>Let it go on</Do>
      ) : (
        <Do action={{ do: "pause", model, service: name }} disabled={!runs}>
          Pause
        </Do>
      )}
      <h3>Its work</h3>
      {Object.keys(faults ?? {}).length > 0 && <p class="warn">struck {times(struck)} so far</p>}
      {FAULTS.map(({ faults: wanted, title }) => (
        <Do
          key={title}
          action={{ do: "faults", model, service: name, faults: wanted }}
          disabled={!runs}
          pressed={isSame(faults ?? {}, wanted)}
        >
          {title}
        </Do>
      ))}
      <Do action={{ do: "faults", model, service: name, faults: {} }} disabled={!runs}>
        As it should be
      </Do>
    </>
  );
}

function isSame(a: Faults, b: Faults): boolean {
  const names = new Set([...Object.keys(a), ...Object.keys(b)]);
  return [...names].every((name) => a[name] === b[name]);
}
