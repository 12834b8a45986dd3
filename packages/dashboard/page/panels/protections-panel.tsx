import { factsOf, modelFrame } from "../live/state.ts";
import { Do, Title } from "./side.tsx";

/** The protections as switches: each restarts the model's services without it. */
export function ProtectionsPanel({ model }: { model: string }) {
  const facts = factsOf(model);
  const without = modelFrame(model)?.without ?? [];
  if (facts === undefined) return null;
  return (
    <>
      <Title>
        Protections <span class="quiet">of {facts.title}</span>
      </Title>
      <p>
        Switch one off, and the services start again without it. Then repeat the fault: if the
        promise is broken, its lamp turns red, and names the order.
      </p>
      {facts.protections.map(({ names, title, tryIt }) => {
        const isOff = names.every((name) => without.includes(name));
        const rest = without.filter((name) => !names.includes(name));
        return (
          <section key={title} class={isOff ? "protection off" : "protection"}>
            <h3>
              {title}{" "}
              <span class={isOff ? "bad" : "good"}>{isOff ? "✕ taken away" : "✓ in place"}</span>
            </h3>
            <p>{tryIt}</p>
            <Do action={{ do: "without", model, names: isOff ? rest : [...rest, ...names] }}>
              {isOff ? "Put it back" : "Take it away"}
            </Do>
          </section>
        );
      })}
    </>
  );
}
