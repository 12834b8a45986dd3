import { join, resolve } from "node:path";

/** The folder of the clone, where package.json is. */
export const repoFolder = resolve(import.meta.dir, "../..");

/** What the lab keeps between runs: Kafka's jars, evidence, the data of `up`. It may be deleted while nothing is up. */
export const labFolder = join(repoFolder, ".lab");
