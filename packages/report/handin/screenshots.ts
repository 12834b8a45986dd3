import type { Evidence } from "@lab/evidence/evidence";
import type { ExperimentName } from "@lab/evidence/figures";
import { composeExperiment } from "../render/compose.ts";
import { toHtml } from "../render/html.ts";

/** The screenshots that the assignment names, and the experiments whose pages they show. */
const SCREENSHOTS: Record<string, ExperimentName[]> = {
  "baseline-latency": ["baseline-latency"],
  "delay-injection": ["slow-inventory"],
  "failure-injection": ["failing-inventory", "hanging-inventory", "dead-inventory"],
  "backlog-drain": ["backlog-drain"],
  idempotency: ["duplicate-delivery"],
  dlq: ["poison-message"],
  "bulk-produce": ["ten-thousand-events"],
  "consumer-lag": ["consumer-lag"],
  "replay-evidence": ["replay"],
};

/** A page to take a screenshot of. */
interface Screenshot {
  name: string;
  html: string;
  /** The lines of the assignment that it answers. */
  answers: string;
}

/** A page for each screenshot: its experiments as the report shows them. Those without evidence are absent. */
export function screenshotPages(evidence: Evidence[]): Screenshot[] {
  const layout = { chart: () => "", evidence: () => "" };
  return Object.entries(SCREENSHOTS).flatMap(([name, experiments]) => {
    const own = evidence.filter(({ experiment }) =>
      experiments.includes(experiment as ExperimentName),
    );
    if (own.length === 0) return [];
    const blocks = own.flatMap((one) => composeExperiment(one, layout));
    const measured = own.map(({ started_at }) => started_at.slice(0, 16).replace("T", " "));
    const html = toHtml(name, `Measured ${[...new Set(measured)].join(", ")} UTC.`, blocks);
    const answers = [...new Set(own.flatMap(({ requirements }) => requirements))].toSorted();
    return [{ name, html, answers: answers.join(", ") }];
  });
}
