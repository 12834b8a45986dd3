/**
 * A flood of orders from a process of its own: `bun flood.ts URL RATE_PER_S DURATION_S SEED FILE`.
 * One process of Bun sends only so many requests at once, as it was told when it started. What was
 * asked and answered goes into the file as a history.
 */
import { History } from "@lab/lab/load/history";
import { openLoop, placeOrder, seededOrder } from "@lab/lab/load/load";

const [url = "", ratePerS, durationS, seed, file = ""] = process.argv.slice(2);
await using history = new History(file);
const result = await openLoop({
  ratePerS: Number(ratePerS),
  durationS: Number(durationS),
  send: (n) =>
    placeOrder(url, seededOrder(Number(seed), n), {
      history,
      timeoutMs: 30_000,
    }),
});
console.log(JSON.stringify({ maxInFlight: result.maxInFlight }));
