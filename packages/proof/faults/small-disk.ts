import { mkdirSync, rmSync } from "node:fs";
import { cp, rename } from "node:fs/promises";
import { join } from "node:path";
import { atExit } from "@lab/lab/host/at-exit";

/** Room for the databases and logs of a whole run. */
export const SMALL_MIB = 64;

/** Mounts a file system on the folder, and takes it away when its standard input ends: with the lab, however that ends. */
const KEEPER = `mount -t tmpfs -o size=${SMALL_MIB}m lab "$0" || exit
echo mounted
read -r _
umount --lazy "$0" && rmdir "$0"`;

/** A folder with a file system of its own; what was in it is still there when that is gone. */
export interface SmallDisk extends AsyncDisposable {
  /** Leaves no room; what it returns makes room again. */
  fill(): () => void;
}

/** Undefined where nobody lets this process mount one: it takes Linux, and root. */
export async function smallDisk(folder: string): Promise<SmallDisk | undefined> {
  mkdirSync(folder, { recursive: true });
  const keeper = Bun.spawn(["sh", "-c", KEEPER, folder], {
    stdin: "pipe",
    stdout: "pipe",
    stderr: "ignore",
    // A session of its own: a signal to the lab's process group doesn't reach it, and it can still unmount.
    detached: true,
  });
  const said = await keeper.stdout.getReader().read();
  if (said.done) return undefined;
  // Before the folder of the run is removed: that would fail.
  const forget = atExit(() => void Bun.spawnSync(["umount", "--lazy", folder]));
  const ballast = join(folder, "ballast");
  return {
    fill() {
      // dd fails when the disk is full, as intended.
      Bun.spawnSync(["dd", "if=/dev/zero", `of=${ballast}`, "bs=4k"], { stderr: "ignore" });
      return () => rmSync(ballast);
    },
    async [Symbol.asyncDispose]() {
      await cp(folder, `${folder}-kept`, { recursive: true });
      forget();
      await keeper.stdin.end();
      await keeper.exited;
      await rename(`${folder}-kept`, folder);
    },
  };
}
