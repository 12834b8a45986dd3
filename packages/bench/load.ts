/** The load that the benchmarks of all models have in common. */
import { byLength } from "@lab/evidence/settings";
import { saturate } from "@lab/lab/load/load";

/** How long a round of as many orders as go through takes. */
export const SATURATED_S = byLength({ short: 1, full: 4, long: 10 });

export const ORDER = { user_id: "u1", items: [{ sku: "burger", qty: 1 }] };

/** Nothing is refused, however many orders come. */
export const OPENING_STOCK = "1000000000";

/** The orders that are answered 2xx a second, at so many connections. */
export async function acceptedPerS(url: string, connections: number): Promise<number> {
  const load = { url: `${url}/order`, connections, durationS: SATURATED_S, body: ORDER };
  return (await saturate(load)).ordersPerS;
}
