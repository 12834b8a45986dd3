// What the page knows, as signals: the parts that read one are drawn again when it changes.
import { computed, signal } from "@preact/signals";
import { type Action, commandOf } from "../../contract/commands.ts";
import type { Frame, ModelFrame, Snapshot, Tick } from "../../contract/frame.ts";

export type Facts = Snapshot["facts"][number];

export const facts = signal<Facts[]>([]);
export const frame = signal<Frame | undefined>(undefined);
export const history = signal<Tick[]>([]);
export const connection = signal<"connecting" | "live" | "lost">("connecting");
/** The column that a narrow window shows. */
export const tab = signal(0);
/** What the side panel shows. */
export type Panel =
  | { kind: "service"; model: string; service: string }
  | { kind: "broker"; model: string }
  | { kind: "protections"; model: string }
  | { kind: "letters"; model: string }
  | { kind: "order"; model: string; suffix: string }
  | { kind: "replay" }
  | { kind: "tour" };
export const panel = signal<Panel | undefined>(undefined);
/** The last action: the command that does the same, and what became of it. */
export const last = signal<{ command: string; said: string; failed: boolean } | undefined>(
  undefined,
);
/** Actions that are under way. */
export const underWay = signal<readonly Action[]>([]);

/** Whether that very action is: it isn't asked for twice, and holds no other. */
export function isUnderWay(action: Action): boolean {
  const text = JSON.stringify(action);
  return underWay.value.some((one) => JSON.stringify(one) === text);
}

const names = computed(() =>
  Object.fromEntries(facts.value.map(({ model, name }) => [model, name])),
);
export const openBands = computed(() =>
  (frame.value?.bands ?? []).filter(({ to_ms }) => to_ms === null),
);

/** The key of the printed address; without it the page can only look. */
export const key = location.hash.slice(1);

export function modelFrame(model: string): ModelFrame | undefined {
  return frame.value?.models.find((one) => one.model === model);
}

export function factsOf(model: string): Facts | undefined {
  return facts.value.find((one) => one.model === model);
}

/** The command line that does the same. */
export function sameByHand(action: Action): string {
  return commandOf(action, frame.value?.models ?? [], names.value);
}

let opener: HTMLElement | null = null;

/** Opens the side panel; closing it gives the focus back. */
export function open(next: Panel): void {
  if (panel.value === undefined) opener = document.activeElement as HTMLElement | null;
  panel.value = next;
}

export function close(): void {
  panel.value = undefined;
  opener?.focus();
}

/** Whether any action of that kind is under way. */
export function isDoing(kind: Action["do"]): boolean {
  return underWay.value.some((one) => one.do === kind);
}

/** Asks the server to do something; true when it was done. */
export async function act(action: Action): Promise<boolean> {
  const command = sameByHand(action);
  const begun = { command, said: "…", failed: false };
  last.value = begun;
  // What has become of an earlier action doesn't hide that of a later one, unless it went wrong.
  const show = (said: string, failed: boolean) => {
    if (failed || last.value === begun) last.value = { command, said, failed };
  };
  underWay.value = [...underWay.value, action];
  try {
    const answer = await fetch("/actions", {
      method: "POST",
      headers: { "content-type": "application/json", "x-lab-key": key },
      body: JSON.stringify(action),
    });
    const { error, said = "" } = (await answer.json()) as { said?: string; error?: string };
    show(error ?? said, !answer.ok);
    return answer.ok;
  } catch {
    show("the page's server doesn't answer", true);
    return false;
  } finally {
    underWay.value = underWay.value.filter((one) => one !== action);
  }
}

/** A JSON answer of the page's server. Throws with its reason. */
export async function ask<T>(path: string): Promise<T> {
  const answer = await fetch(path);
  const body = (await answer.json()) as T & { error?: string };
  if (!answer.ok) throw new Error(body.error ?? `status ${answer.status}`);
  return body;
}
