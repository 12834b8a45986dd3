// Preloaded into a service, whose code it changes as it is loaded: LAB_WITHOUT takes protections away,
// LAB_CRASH_AT has the process kill itself in a gap between two effects. Where these are in the code
// stands in the folder of the model, in tests/proof/weaving.ts.
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { readCrash, setCrash } from "./crash.ts";
import { checkPoint, editOf, type Gaps } from "./gaps.ts";
import { editsWithout, type Protections } from "./protections.ts";
import { type Edit, weave } from "./weave.ts";

const repoFolder = join(import.meta.dir, "../../..");
const model = basename(dirname(Bun.main));
const service = basename(Bun.main, ".ts");

try {
  const { LAB_CRASH_AT = "", LAB_FAULTS, LAB_WITHOUT = "" } = process.env;
  if (LAB_FAULTS !== "on") throw new Error("LAB_WITHOUT and LAB_CRASH_AT need LAB_FAULTS=on");
  const { GAPS, PROTECTIONS } = (await import(
    join(repoFolder, model, "tests/proof/weaving.ts")
  )) as { GAPS: Record<string, Gaps>; PROTECTIONS: Protections };
  const edits = editsWithout(LAB_WITHOUT, PROTECTIONS);
  const crash = readCrash(LAB_CRASH_AT);
  if (crash !== undefined) {
    checkPoint(crash.point, GAPS);
    const edit = editOf(crash.point, `${model}/${service}`, GAPS[service]);
    if (edit !== undefined) {
      edits.push(edit);
      setCrash(crash);
    }
  }
  load(edits);
} catch (error) {
  console.error(`bad environment:\n  ${(error as Error).message}`);
  process.exit(2);
}

function load(edits: readonly Edit[]): void {
  const byFile = Map.groupBy(edits, ({ file }) => join(repoFolder, file));
  if (byFile.size === 0) return;
  const names = [...byFile.keys()].map((file) => RegExp.escape(basename(file)));
  Bun.plugin({
    name: "weaving",
    setup(build) {
      build.onLoad({ filter: new RegExp(`(${names.join("|")})$`) }, ({ path }) => ({
        contents: weave(readFileSync(path, "utf8"), byFile.get(path) ?? []),
        loader: "ts",
      }));
    },
  });
}
