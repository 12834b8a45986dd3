import { expect, test } from "bun:test";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startAgain } from "@lab/lab/brokers/brokers";
import { withFreshHint } from "./broker.ts";

test("where a broker's data are lost, the fresh start that is named is that of its model alone", async () => {
  const folder = await mkdtemp(join(tmpdir(), "lost-"));
  await using _ = { [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) };
  await Bun.write(join(folder, "plan.json"), "{");
  const started = startAgain("kafka", folder, { endsWithUs: false });
  const error = await withFreshHint({ name: "stream" }, started).then(() => "nothing", String);
  expect(error).toMatch(
    /plan\.json can't be read: .*; scripts\/lab up stream --fresh begins anew$/s,
  );
});
