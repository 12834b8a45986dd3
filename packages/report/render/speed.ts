import { benchmarks, models } from "@lab/evidence/experiments";
import type { Evidence } from "@lab/evidence/evidence";
import type { Block } from "../text/document.ts";
import { composeExperiment, type Layout, settingBlocks } from "./compose.ts";

/** The page "Speed": the models beside the ceilings of their transports. */
export function composeSpeed(evidence: Evidence[], layout: Layout): Block[] {
  return [
    ...settingBlocks(evidence),
    ...Object.entries(benchmarks).flatMap(([name, title]) =>
      models.flatMap(({ model, part, title: of }) =>
        evidence
          .filter((one) => one.experiment === name && one.model === model)
          .flatMap((one) => composeExperiment(one, layout, `${title}: ${part}. ${of}`)),
      ),
    ),
  ];
}
