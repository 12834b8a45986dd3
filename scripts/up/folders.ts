// Where `up` keeps data and logs: a folder for each model, and one for each broker of ours.
import type { Model } from "@lab/evidence/evidence";
import { labFolder } from "@lab/evidence/folders";
import { type Identity, identityOf } from "@lab/lab/host/process-id";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";

export const upFolder = join(labFolder, "up");

/** That folder of `up`, with nothing in it any more. */
export async function emptyFolder(name: string): Promise<string> {
  const folder = join(upFolder, name);
  await rm(folder, { recursive: true, force: true });
  // A broker's password may stand in it.
  await mkdir(folder, { recursive: true, mode: 0o700 });
  return folder;
}

/** It is there once a model was taken down: the next start begins anew. Without it, data are kept. */
export const downMark = (model: Model) => join(upFolder, model, "down");

/** Who is to be written down as the owner of what is started. */
export function ownerIf(foreground: boolean): { owner?: Identity } {
  return foreground ? { owner: identityOf(process.pid) } : {};
}
