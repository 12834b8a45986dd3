// Preloaded into a service, whose code it changes as it is loaded: LAB_WITHOUT takes protections away,
// LAB_CRASH_AT has the process kill itself in a gap between two effects. Where these are in the code
// stands in the folder of the model, in tests/proof/weaving.ts.
import { repoFolder } from "@lab/evidence/folders";
import { readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { readWeavingEnv, weavingOf } from "./weaving-env.ts";
import { setCrash } from "./crash.ts";
import { editOf } from "./crash-sites.ts";
import { type Edit, weave } from "./weave.ts";

const model = basename(dirname(Bun.main));
const service = basename(Bun.main, ".ts");

try {
  const weaving = await weavingOf(model);
  const { crash, without: edits } = readWeavingEnv(process.env, weaving);
  if (crash !== undefined) {
    const edit = editOf(crash.point, `${model}/${service}`, weaving.CRASH_SITES[service]);
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
