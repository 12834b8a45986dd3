import { existsSync } from "node:fs";
import { setTimeout } from "node:timers/promises";

/** Long after the turn in which amqplib writes to its socket. */
const SENT_MS = 50;

/** Where a process is to die, and at which pass of that gap. */
export interface Crash {
  point: string;
  pass: number;
  /** The file that arms the crash: passes before it exists aren't counted, so that a service can start long before it is to die. Undefined: armed from the start. */
  armedBy: string | undefined;
}

/** Reads `point:n`, n from 1; undefined where nothing is asked for. Throws for anything else. */
export function readCrash(text: string, armedBy?: string): Crash | undefined {
  if (text === "") return undefined;
  const [, point, pass] = /^([a-z-]+):([1-9]\d*)$/.exec(text) ?? [];
  if (point === undefined) throw new Error(`LAB_CRASH_AT=${text} is not point:n, with n from 1`);
  return { point, pass: Number(pass), armedBy };
}

/** What is called in the gaps of a service. */
declare global {
  /** At the last pass kills the process as `kill -9` does: no handler runs, and nothing after this line. */
  var crashAt: (point: string) => void;
  /** The same, once a message is sent that the client library writes to its socket in a later turn. */
  var crashOnceSent: (point: string) => Promise<void>;
}

/** Sets those globals. A crash that never came is told on standard error when the process ends. */
export function setCrash(crash: Crash): void {
  let left = crash.pass;
  let isArmed = crash.armedBy === undefined;
  const isLastPass = (point: string) => {
    if (point !== crash.point) return false;
    isArmed ||= existsSync(crash.armedBy!);
    return isArmed && (left -= 1) === 0;
  };
  const kill = () => process.kill(process.pid, "SIGKILL");
  globalThis.crashAt = (point) => void (isLastPass(point) && kill());
  globalThis.crashOnceSent = async (point) => {
    if (!isLastPass(point)) return;
    await setTimeout(SENT_MS);
    kill();
  };
  process.on("exit", () => {
    if (left > 0) console.error(`LAB_CRASH_AT=${crash.point}: missed by ${left} passes`);
  });
}
