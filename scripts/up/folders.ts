// Where `up` keeps data and logs: a folder for each model, and one for each broker of the lab.
import type { Model } from "@lab/evidence/evidence";
import { labFolder } from "@lab/evidence/folders";
import { type Identity, identityOf } from "@lab/lab/host/process-id";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";

export const upFolder = join(labFolder, "up");

/** Empties that folder of `up`, and returns its path. */
export async function emptyFolder(name: string): Promise<string> {
  const folder = join(upFolder, name);
  await rm(folder, { recursive: true, force: true });
  // It may contain a broker's password.
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}

/**
 * The file that marks a model as taken down: the next start deletes its data. Without it, data are
 * kept.
 */
export const downMark = (model: Model) => join(upFolder, model, "down");

/** The owner to store for what is started. */
export function ownerIf(foreground: boolean): { owner?: Identity } {
  return foreground ? { owner: identityOf(process.pid) } : {};
}
