import { Glob } from "bun";
import { readFileSync } from "node:fs";

/** What the services have written that keep their databases under that folder. */
function logsIn(folder: string): string[] {
  const files = new Glob("**/*.log").scanSync({ cwd: folder, absolute: true });
  return Array.from(files, (file) => readFileSync(file, "utf8"));
}

/** The most attempts at each order's message that had to be repeated. */
export function attemptsIn(folder: string): Map<string, number> {
  const attempts = new Map<string, number>();
  const retried = /"message_retried".*"order_id":"([^"]+)","attempt":(\d+)/g;
  for (const log of logsIn(folder)) {
    for (const [, orderId = "", attempt] of log.matchAll(retried)) {
      attempts.set(orderId, Math.max(Number(attempt), attempts.get(orderId) ?? 0));
    }
  }
  return attempts;
}

/** Messages that came again after they had been processed, and were known by the ledger. */
export function repeatedIn(folder: string): number {
  return logsIn(folder).reduce((sum, log) => sum + repeats(log), 0);
}

/** The same by one service. */
export function repeatsIn(logFile: string): number {
  return repeats(readFileSync(logFile, "utf8"));
}

function repeats(log: string): number {
  return log.split('"message_repeated"').length - 1;
}
