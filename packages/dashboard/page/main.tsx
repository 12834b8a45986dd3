import { render } from "preact";
import { useEffect } from "preact/hooks";
import { Dots } from "./live/dots.ts";
import { connect } from "./live/events.ts";
import { Charts } from "./parts/charts.tsx";
import { Clicks } from "./parts/clicks.tsx";
import { Column } from "./parts/column.tsx";
import { Announcer, Broken, Header, Summary } from "./parts/header.tsx";
import { Legend } from "./parts/legend.tsx";
import { Side } from "./panels/side.tsx";
import { Toolbar } from "./parts/toolbar.tsx";
import { connection, facts, frame } from "./live/state.ts";

const columns = [new Dots(), new Dots(), new Dots()];
const calm = matchMedia("(prefers-reduced-motion: reduce)");

function App() {
  useEffect(() => {
    connect(
      (model, hops, { at_ms, models }) => {
        const { scale, stats } = models[model]!;
        columns[model]?.add(hops, at_ms, { open: stats.open, scale });
      },
      () => columns.forEach((dots) => dots.clear()),
    );
    animate();
  }, []);
  if (frame.value === undefined) {
    return (
      <main class="loading">
        {connection.value === "lost"
          ? "The page's server doesn't answer. Is scripts/lab live still running?"
          : "Looking at the models …"}
      </main>
    );
  }
  return (
    <div class={connection.value === "live" ? "page" : "page stale"}>
      <Header />
      <main>
        <Toolbar />
        <Broken />
        <Summary />
        <section class={`columns of-${facts.value.length}`} aria-label="The models">
          {facts.value.map((one, n) => (
            <Column key={one.model} facts={one} at={n} dots={columns[n]!} />
          ))}
        </section>
        <Legend />
        <Clicks />
        <Charts />
      </main>
      <Side />
      <Announcer />
    </div>
  );
}

/** Thirty pictures a second: a screen without a graphics card draws each with the models' own processors. */
const MOVING_MS = 25;
const CALM_MS = 250;
const MEASURED_MS = 500;

/** Dots are drawn while somebody looks; four times a second where none moves, or motion isn't wanted. */
function animate(): void {
  let measuredMs = 0;
  const step = (nowMs: number) => {
    if (nowMs - measuredMs > MEASURED_MS) {
      measuredMs = nowMs;
      for (const dots of columns) dots.measure();
    }
    for (const dots of columns) dots.draw(!calm.matches);
    const moves = !calm.matches && columns.some((dots) => !dots.isEmpty);
    setTimeout(() => requestAnimationFrame(step), moves ? MOVING_MS : CALM_MS);
  };
  requestAnimationFrame(step);
}

const root = document.getElementById("app")!;
root.replaceChildren();
render(<App />, root);
