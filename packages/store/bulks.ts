import type { Database } from "bun:sqlite";
import { Bulk, type BulkRequest } from "@lab/contracts/bulk";
import { newId } from "@lab/contracts/ids";
import { Problem } from "@lab/contracts/problem";
import type { BulkPlan } from "@lab/workflow/bulk";
import type { Migration } from "./store.ts";

export const BULKS_SCHEMA: Migration[] = [
  {
    name: "bulks-1",
    sql: `
      CREATE TABLE bulks (
        bulk_id TEXT PRIMARY KEY,
        request TEXT NOT NULL,
        placed INTEGER NOT NULL,
        started_at TEXT NOT NULL,
        finished_at TEXT
      ) STRICT, WITHOUT ROWID;`,
  },
];

interface BulkRow {
  bulk_id: string;
  request: string;
  placed: number;
  started_at: string;
  finished_at: string | null;
}

/** The bulk streams and their progress. Call the writers inside `store.commit`. */
export class Bulks {
  readonly #db: Database;

  constructor(db: Database) {
    this.#db = db;
  }

  begin(request: BulkRequest): Bulk {
    const id = newId();
    this.#db
      .query("INSERT INTO bulks VALUES (?, ?, 0, ?, NULL)")
      .run(id, JSON.stringify(request), new Date().toISOString());
    return this.get(id);
  }

  /** Throws a `Problem` for a stream that is not here. */
  get(bulkId: string): Bulk {
    const row = this.#db
      .query<BulkRow, [string]>("SELECT * FROM bulks WHERE bulk_id = ?")
      .get(bulkId);
    if (!row) throw new Problem("not_found", `no bulk stream ${bulkId}`);
    return bulkOf(row);
  }

  /** The running streams, each with the numbers of the orders that are due now, at most `limit`. */
  running(limit: number): { bulk_id: string; plan: BulkPlan; due: number[] }[] {
    return this.#db
      .query<BulkRow, []>("SELECT * FROM bulks WHERE finished_at IS NULL ORDER BY bulk_id")
      .all()
      .map(bulkOf)
      .map(({ bulk_id, placed, request, started_at }) => {
        const { seed, kitchens, count, fail_rate, rate_per_s } = request;
        const elapsedS = (Date.now() - Date.parse(started_at)) / 1000;
        const intended = rate_per_s === undefined ? count : Math.floor(elapsedS * rate_per_s);
        const until = Math.min(count, intended, placed + limit);
        return {
          bulk_id,
          plan: { seed, kitchens, failRate: fail_rate },
          due: Array.from({ length: Math.max(0, until - placed) }, (_, n) => placed + n),
        };
      });
  }

  /** Adds `placed` to the number of placed orders. */
  advance(bulkId: string, placed: number): Bulk {
    const before = this.get(bulkId);
    const all = before.placed + placed;
    const finished = all >= before.request.count;
    this.#db
      .query("UPDATE bulks SET placed = ?, finished_at = ? WHERE bulk_id = ?")
      .run(all, finished ? new Date().toISOString() : null, bulkId);
    return this.get(bulkId);
  }
}

function bulkOf(row: BulkRow): Bulk {
  const { bulk_id, placed, started_at, finished_at } = row;
  return {
    bulk_id,
    state: finished_at === null ? "running" : "finished",
    placed,
    request: JSON.parse(row.request) as BulkRequest,
    started_at,
    ...(finished_at === null ? {} : { finished_at }),
  };
}
