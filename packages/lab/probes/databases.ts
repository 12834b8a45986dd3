import { Database } from "bun:sqlite";

type Value = string | number;

/** Events that an order service has stored and not published. */
export const OUTBOX_DEPTH = "SELECT count(*) FROM outbox WHERE sent_at IS NULL";

/** The rows of a query on a service's database file, while the service runs. */
export function read<Row>(
  { database }: { database: string },
  sql: string,
  ...values: Value[]
): Row[] {
  using db = new Database(database, { readonly: true });
  db.run("PRAGMA busy_timeout = 2000");
  return db.query<Row, Value[]>(sql).all(...values);
}

/** The single number that a query returns, 0 for none. */
export function count(service: { database: string }, sql: string, ...values: Value[]): number {
  const [row = {}] = read<Record<string, number>>(service, sql, ...values);
  return Number(Object.values(row)[0] ?? 0);
}
