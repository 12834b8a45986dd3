import { join, resolve } from "node:path";

/** The folder of the clone, where package.json is. */
export const repoFolder = resolve(import.meta.dir, "../..");

/** What the lab keeps between its runs and may be deleted at any time: Kafka's jars, evidence, what `up` started. */
export const labFolder = join(repoFolder, ".lab");
