// The page's own files, bundled in memory at the start: no build step, and nothing from the net.
import { chartStyle } from "@lab/report/render/chart-parts";
import { join } from "node:path";

const folder = join(import.meta.dir, "../page");

/** The content type and text of each file, by its path. */
export type Assets = ReadonlyMap<string, { type: string; text: string }>;

export async function bundle(): Promise<Assets> {
  const built = await Bun.build({
    entrypoints: [join(folder, "main.tsx")],
    target: "browser",
    minify: true,
  });
  const [script] = built.outputs;
  const style = await Bun.file(join(folder, "style.css")).text();
  return new Map([
    ["/", { type: "text/html", text: await Bun.file(join(folder, "index.html")).text() }],
    ["/main.js", { type: "text/javascript", text: await script!.text() }],
    ["/style.css", { type: "text/css", text: `${style}\n${chartStyle()}` }],
  ]);
}
