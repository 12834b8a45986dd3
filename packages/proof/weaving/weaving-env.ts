import { repoFolder } from "@lab/evidence/folders";
import { readEnv } from "@lab/runtime/env";
import { OnOff } from "@lab/runtime/faults";
import { Type } from "@sinclair/typebox";
import { join } from "node:path";
import { type Crash, readCrash } from "./crash.ts";
import { checkPoint, type CrashSites } from "./crash-sites.ts";
import { editsWithout, type Protections } from "./protections.ts";
import type { Edit } from "./weave.ts";

/** Where crash points and protections are in the code of a model's services: its tests/proof/weaving.ts. */
export interface Weaving {
  /** By service. */
  CRASH_SITES: Record<string, CrashSites>;
  PROTECTIONS: Protections;
}

export async function weavingOf(model: string): Promise<Weaving> {
  return (await import(join(repoFolder, model, "tests/proof/weaving.ts"))) as Weaving;
}

const Switch = Type.Object({ labFaults: OnOff });

/** What LAB_WITHOUT and LAB_CRASH_AT ask for. Throws where that isn't there, and without LAB_FAULTS=on. */
export function readWeavingEnv(
  env: Record<string, string | undefined>,
  { CRASH_SITES, PROTECTIONS }: Weaving,
): { without: Edit[]; crash: Crash | undefined } {
  const { LAB_CRASH_AT = "", LAB_CRASH_ARMED_BY, LAB_WITHOUT = "" } = env;
  const { labFaults } = readEnv(Switch, env);
  if (labFaults !== "on") throw new Error("LAB_WITHOUT and LAB_CRASH_AT need LAB_FAULTS=on");
  const without = editsWithout(LAB_WITHOUT, PROTECTIONS);
  const crash = readCrash(LAB_CRASH_AT, LAB_CRASH_ARMED_BY);
  if (crash !== undefined) checkPoint(crash.point, CRASH_SITES);
  return { without, crash };
}
