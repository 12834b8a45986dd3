import type { Evidence } from "@lab/evidence/evidence";
import { experiments } from "@lab/evidence/experiments";
import { FIGURES, type ExperimentName, type FigureName, kindOf } from "@lab/evidence/figures";
import { formatFigure } from "./format.ts";

/** "slow-inventory/delay_ms": a figure's full name. */
export type FigureKey = {
  [E in ExperimentName]: `${E}/${FigureName<E>}`;
}[ExperimentName];

/** One measured figure. In a template literal it becomes text with the unit. */
export class Figure {
  readonly name: string;
  readonly value: number | string | boolean;

  constructor(name: string, value: number | string | boolean) {
    this.name = name;
    this.value = value;
  }

  /** The number; throws for a digest or a yes/no, which is an error in the report's text. */
  get number(): number {
    if (typeof this.value === "number") return this.value;
    throw new Error(`${this.name} is not a number`);
  }

  toString(): string {
    return formatFigure(this.name, this.value);
  }
}

/** Replaces a text whose experiment isn't among the evidence. */
export const NOT_RUN = "_not run_";

/**
 * The figures of a set of evidence. Texts with figures are made by `tell`, which returns a note
 * about a missing figure instead of a text that needs it.
 */
export class Figures {
  readonly #evidence: Map<string, Evidence>;

  constructor(evidence: Evidence[]) {
    this.#evidence = new Map(evidence.map((one) => [one.experiment, one]));
  }

  /** The figure, or undefined when its experiment did not run, left it out, or left something of another kind. */
  find(key: FigureKey): Figure | undefined {
    const [experiment = "", name = ""] = key.split("/");
    const value = this.#evidence.get(experiment)?.figures[name];
    if (value === null || value === undefined) return undefined;
    const fits =
      typeof value === kindOf(experiment, name) &&
      (typeof value !== "number" || Number.isFinite(value));
    return fits ? new Figure(name, value) : undefined;
  }

  /** The text made of these figures; undefined where one is missing. */
  say(keys: FigureKey[], text: (...figures: Figure[]) => string): string | undefined {
    const found = keys.map((key) => this.find(key)).filter((figure) => figure !== undefined);
    return found.length === keys.length ? text(...found) : undefined;
  }

  /**
   * The text made of these figures; a note where some are missing; `NOT_RUN` where their experiment
   * is missing.
   */
  tell(keys: FigureKey[], text: (...figures: Figure[]) => string): string {
    const missing = keys.filter((key) => !this.find(key));
    if (missing.some((key) => !this.#evidence.has(key.split("/")[0] ?? ""))) return NOT_RUN;
    return this.say(keys, text) ?? `_Not measured: ${listFigures(missing)}._`;
  }

  /**
   * The figures that the experiments should have recorded and have not, a line for each experiment.
   */
  missing(): string[] {
    return (Object.keys(experiments) as ExperimentName[]).flatMap((experiment) => {
      if (!this.#evidence.has(experiment)) return [];
      const names = Object.keys(FIGURES[experiment]).filter(
        (name) => !this.find(`${experiment}/${name}` as FigureKey),
      );
      return names.length > 0 ? [`${experiment}: no figure ${names.join(", ")}`] : [];
    });
  }
}

/** `Figures.say` of these figures, to be asked later. */
export function said(
  keys: FigureKey[],
  text: (...figures: Figure[]) => string,
): (figures: Figures) => string | undefined {
  return (figures) => figures.say(keys, text);
}

function listFigures(keys: FigureKey[]): string {
  const byExperiment = Map.groupBy(keys, (key) => key.split("/")[0] ?? "");
  return [...byExperiment]
    .map(
      ([experiment, of]) =>
        `${of.map((key) => `\`${key.split("/")[1]}\``).join(", ")} of ${experiment}`,
    )
    .join("; ");
}
