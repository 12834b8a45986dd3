import { type Edit, GAP, SENT } from "./weave.ts";

/** Where a crash point lies: a passage of the service's own file with `<gap>` or `<sent>` in it, or as here. */
export type Gap =
  | string
  | {
      /** Beside the service's file. */
      file?: string;
      /** Only where it can't be cut in two: what stands there. */
      passage?: string;
      /** What is to stand there, with the mark in it. */
      at: string;
    };

/** By the point's name. */
export type Gaps = Record<string, Gap>;

/** The point at the end of a step of the stop has the step's name. */
export const STOP_STEP = "a step of the stop";

const RUNTIME = "packages/runtime/service.ts";

/** Points that every service has. */
export const EVERYWHERE: Gaps = {
  "started-before-ready": `${GAP}own.info("ready"`,
  stopping: `own.info("stopping", { signal });${GAP}`,
  stopped: `${GAP}own.info("stopped");`,
};

/** Throws for a point that no service of a model has. */
export function checkPoint(point: string, gaps: Record<string, Gaps>): void {
  const known = new Set([EVERYWHERE, ...Object.values(gaps)].flatMap(Object.keys));
  if (!known.has(point)) {
    throw new Error(`LAB_CRASH_AT: no ${point} among ${[...known].join(", ")}`);
  }
}

/** The edit that puts a crash point into the code of a service, `model/service`; undefined where it has none of that name. */
export function editOf(point: string, service: string, gaps: Gaps = {}): Edit | undefined {
  const gap = EVERYWHERE[point] ?? gaps[point];
  if (gap === undefined) return undefined;
  if (gap === STOP_STEP) {
    const passage = "await step();";
    return { file: RUNTIME, passage, instead: `${passage} crashAt(name);` };
  }
  const { at, file, passage } = typeof gap === "string" ? { at: gap } : gap;
  const model = service.slice(0, service.indexOf("/"));
  const own = file === undefined ? `${service}.ts` : `${model}/${file}`;
  return {
    file: point in EVERYWHERE ? RUNTIME : own,
    passage: passage ?? at.replace(GAP, "").replace(SENT, ""),
    instead: at
      .replace(GAP, ` crashAt("${point}"); `)
      .replace(SENT, ` await crashOnceSent("${point}"); `),
  };
}
