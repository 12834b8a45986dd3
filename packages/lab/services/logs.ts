import { Glob } from "bun";
import { readFileSync } from "node:fs";

/** The logs of the services with databases under that folder. */
function logsIn(folder: string): string[] {
  const files = new Glob("**/*.log").scanSync({ cwd: folder, absolute: true });
  return Array.from(files, (file) => readFileSync(file, "utf8"));
}

/** The highest attempt number of each order's message that was retried. */
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

/** The number of redelivered messages that the ledger recognized as processed. */
export function repeatedIn(folder: string): number {
  return logsIn(folder).reduce((sum, log) => sum + repeats(log), 0);
}

/** The same for one service. */
export function repeatsIn(logFile: string): number {
  return repeats(readFileSync(logFile, "utf8"));
}

function repeats(log: string): number {
  return log.split('"message_repeated"').length - 1;
}
