import { type Edit, GAP, SENT } from "./weave.ts";

/** Where a crash point lies: code of the service's own file with the mark `<gap>` or `<sent>`; an object where it is in another file or the code must be rewritten. */
export type CrashSite =
  | string
  | {
      /** Beside the service's file. */
      file?: string;
      /** The code to replace; by default `at` without its mark. */
      passage?: string;
      /** The new code, with the mark. */
      at: string;
    };

/** By the point's name. */
export type CrashSites = Record<string, CrashSite>;

/** The point at the end of a step of the stop has the step's name. */
export const STOP_STEP = "a step of the stop";

const RUNTIME = "packages/runtime/service.ts";

/** Points that every service has. */
export const EVERYWHERE = {
  "started-before-ready": `${GAP}own.info("ready"`,
  stopping: `own.info("stopping", { signal });${GAP}`,
  stopped: `${GAP}own.info("stopped");`,
} satisfies CrashSites;

/** Throws for a point that no service of a model has. */
export function checkPoint(point: string, gaps: Record<string, CrashSites>): void {
  const known = new Set([EVERYWHERE, ...Object.values(gaps)].flatMap(Object.keys));
  if (!known.has(point)) {
    throw new Error(`LAB_CRASH_AT: no ${point} among ${[...known].join(", ")}`);
  }
}

/** The edit that puts a crash point into the code of a service, `model/service`; undefined where it has none of that name. */
export function editOf(point: string, service: string, gaps: CrashSites = {}): Edit | undefined {
  const gap = (EVERYWHERE as CrashSites)[point] ?? gaps[point];
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
