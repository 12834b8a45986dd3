import type { ComponentChildren } from "preact";
import { useEffect, useRef } from "preact/hooks";
import type { Action } from "../../contract/commands.ts";
import { act, close, isUnderWay, key, type Panel, panel, sameByHand } from "../live/state.ts";
import { BrokerPanel } from "./broker-panel.tsx";
import { LettersPanel } from "./letters-panel.tsx";
import { OrderPanel } from "./order-panel.tsx";
import { ProtectionsPanel } from "./protections-panel.tsx";
import { ReplayPanel } from "./replay-panel.tsx";
import { ServicePanel } from "./service-panel.tsx";
import { TourPanel } from "./tour-panel.tsx";

/** The panel beside the page: what was clicked, in full. Escape closes it. */
export function Side() {
  const shown = panel.value;
  const box = useRef<HTMLElement>(null);
  useEffect(() => {
    if (shown !== undefined) box.current?.querySelector<HTMLElement>("h2")?.focus();
  }, [shown]);
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      if (event.key === "Escape") close();
    };
    document.addEventListener("keydown", onKey);
    return () => document.removeEventListener("keydown", onKey);
  }, []);
  if (shown === undefined) return null;
  return (
    <aside class={shown.kind === "order" ? "side wide" : "side"} ref={box} aria-label="Details">
      <button type="button" class="close" onClick={close}>
        Close
      </button>
      <Inside panel={shown} />
    </aside>
  );
}

function Inside({ panel: shown }: { panel: Panel }) {
  switch (shown.kind) {
    case "service":
      return <ServicePanel {...shown} />;
    case "broker":
      return <BrokerPanel {...shown} />;
    case "protections":
      return <ProtectionsPanel {...shown} />;
    case "letters":
      return <LettersPanel {...shown} />;
    case "order":
      return <OrderPanel {...shown} />;
    case "replay":
      return <ReplayPanel />;
    case "tour":
      return <TourPanel />;
  }
}

/** The heading, which takes the focus when the panel opens. */
export function Title({ children }: { children: ComponentChildren }) {
  return <h2 tabIndex={-1}>{children}</h2>;
}

/** A button, and the command that does the same below it. */
export function Do({
  action,
  children,
  disabled = false,
  pressed,
}: {
  action: Action;
  children: ComponentChildren;
  disabled?: boolean;
  pressed?: boolean;
}) {
  return (
    <div class="do">
      <button
        type="button"
        aria-pressed={pressed}
        disabled={disabled || key === ""}
        // Not disabled while it is under way, which would take the keyboard's focus from it.
        aria-disabled={isUnderWay(action)}
        onClick={() => {
          if (!isUnderWay(action)) void act(action);
        }}
      >
        {children}
      </button>
      <code>{sameByHand(action)}</code>
    </div>
  );
}
