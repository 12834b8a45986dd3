import { type Evidence, Model, type Series } from "@lab/evidence/evidence";
import { repoFolder } from "@lab/evidence/folders";
import { expect, test } from "bun:test";
import { globSync } from "node:fs";
import { join } from "node:path";
import { picturesOf } from "../text/picture.ts";
import { chart } from "./chart.ts";

const files = Model.anyOf.flatMap(({ const: model }) =>
  globSync(`${model}/results/*.json`, { cwd: repoFolder }),
);
const evidence = (await Promise.all(
  files.map((file) => Bun.file(join(repoFolder, file)).json()),
)) as Evidence[];

const charts = evidence.flatMap((one) =>
  picturesOf(one).flatMap((picture) =>
    picture.plot.kind === "lines"
      ? [{ name: `${one.model}/${one.experiment}/${picture.id}`, picture, ...picture.plot }]
      : [],
  ),
);

test("there are charts to look at", () => {
  expect(charts.length).toBeGreaterThan(10);
});

test.each(charts.map((one) => [one.name, one] as const))(
  "%s: what is drawn can be read back as what was measured",
  (_, { picture, series }) => {
    const svg = chart(picture, "c");
    const valueOf = scaleOf(svg, series);
    const paths = [...svg.matchAll(/<path class="l\d+" stroke-width="[\d.]+"[^>]* d="(M[^"h]*)"/g)];
    expect(paths).toHaveLength(series.lines.length);
    for (const [i, { points }] of series.lines.entries()) {
      const drawn = [...paths[i]![1]!.matchAll(/[ML][\d.-]+ ([\d.-]+)/g)].map(([, y]) => Number(y));
      const measured = points.map(([, y]) => y).filter((y) => !series.y.log || y > 0);
      expect(drawn).toHaveLength(measured.length);
      const off = measured.filter(
        (y, n) => !isNear(valueOf(drawn[n]! - 0.1), y, valueOf(drawn[n]! + 0.1)),
      );
      expect(off).toEqual([]);
    }
  },
);

/** The value at a height in the drawing, by the labels of the y axis alone, as a reader would find it. */
function scaleOf(svg: string, { y }: Series): (height: number) => number {
  const labels = [...svg.matchAll(/y="([\d.]+)" text-anchor="end">([\d,.]+)<\/text>/g)];
  const ticks = labels.map(([, at, text]) => ({
    at: Number(at) - 4,
    value: Number(text!.replaceAll(",", "")),
  }));
  const [first, last] = [ticks[0]!, ticks.at(-1)!];
  const [to, from] = y.log ? [Math.log10, (v: number) => 10 ** v] : [Number, Number];
  const perPx = (to(last.value) - to(first.value)) / (last.at - first.at);
  return (height) => from(to(first.value) + (height - first.at) * perPx);
}

/** Whether a value lies between two, which the drawing's rounding leaves open; the axis' own labels are rounded, too. */
function isNear(high: number, value: number, low: number): boolean {
  const slack = Math.abs(high - low);
  return value >= low - slack && value <= high + slack;
}
