// What happens to a broker's data when it is restarted. A process that does nothing represents the broker.
import { expect, test } from "bun:test";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { freshFolder, removeFolder } from "../host/lifeline.ts";
import type { NativePlan } from "./broker.ts";
import { killNative, runNativeAgain } from "./native.ts";

const probe = () => Promise.resolve({});

test("a broker that has answered isn't started again without its data; one that never did has none yet", async () => {
  const folder = await freshFolder("rabbitmq");
  const data = join(folder, "data", "node");
  const plan: NativePlan = {
    name: "rabbitmq",
    folder,
    data,
    address: "",
    ports: [],
    command: ["sleep", "60"],
    env: {},
    versions: {},
  };
  const again = () => runNativeAgain(folder, undefined, probe);
  try {
    await Bun.write(join(folder, "plan.json"), JSON.stringify({ plan }));
    await again();
    await killNative(folder);
    await mkdir(data, { recursive: true });
    await again();
    await killNative(folder);
    await rm(data, { recursive: true });
    expect(await again().catch(String)).toContain(`rabbitmq's data are gone: there is no ${data}`);
  } finally {
    await killNative(folder);
    await removeFolder(folder);
  }
});
