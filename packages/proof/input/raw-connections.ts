import type { Socket } from "bun";
import { eventually } from "@lab/lab/host/waiting";

/** Often enough for a line that never counts as idle. */
const DRIP_MS = 2_000;
/**
 * Much longer than any server here waits for the rest of a request. On a busy machine the kernel may hand a
 * connection over half a minute late.
 */
const CUT_MS = 90_000;

/** Connections that are held open. */
export interface Held {
  /** How many are open at this moment. */
  readonly open: number;
  /** Returns once the server has closed all of them: how many, by how they ended. */
  cut(): Promise<Record<string, number>>;
  end(): void;
}

/** Opens so many connections, sends `first` over each, and `drip` again and again as long as it is open. */
export async function hold(url: string, count: number, first: string, drip = ""): Promise<Held> {
  const { hostname, port } = new URL(url);
  const all = Buffer.from(first);
  const open = new Set<Socket<{ written: number }>>();
  const ends: Record<string, number> = {};
  const ended = (one: Socket<{ written: number }>, how: string) => {
    if (open.delete(one)) ends[how] = (ends[how] ?? 0) + 1;
  };
  const more = (one: Socket<{ written: number }>) => {
    if (one.data.written === all.length) return;
    one.data.written += Math.max(0, one.write(all.subarray(one.data.written)));
  };
  const socket = {
    data() {},
    drain: more,
    // A server that closes with bytes unread resets: that is a cut too.
    close: (one: Socket<{ written: number }>, error?: Error & { code?: string }) =>
      ended(one, error === undefined || error.code === "ECONNRESET" ? "cut" : String(error)),
    error: (one: Socket<{ written: number }>, error: Error) => ended(one, String(error)),
  };
  for (let n = 0; n < count; n += 1) {
    const data = { written: 0 };
    const one = await Bun.connect({ hostname, port: Number(port), socket, data });
    open.add(one);
    more(one);
  }
  const dripping = setInterval(() => {
    if (drip !== "") for (const one of open) one.write(drip);
  }, DRIP_MS);
  return {
    get open() {
      return open.size;
    },
    async cut() {
      while (open.size > 0) {
        const left = open.size;
        const what = `one of the ${left} that are left of ${count} is cut`;
        await eventually(what, () => open.size < left, { timeoutMs: CUT_MS });
      }
      return ends;
    },
    end() {
      clearInterval(dripping);
      for (const one of open) one.terminate();
    },
  };
}

/** Sends those bytes over a connection of its own: the status of the answer, or `cut`. */
export async function rawAnswer(url: string, bytes: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const { promise, resolve } = Promise.withResolvers<string>();
  const all = Buffer.from(bytes);
  let written = 0;
  let answer = "";
  const more = (socket: Socket) => {
    written += Math.max(0, socket.write(all.subarray(written)));
  };
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: {
      drain: more,
      data(_, data) {
        answer += data.toString();
        const status = /^HTTP\/1\.1 (\d+)/.exec(answer)?.[1];
        if (status !== undefined) resolve(status);
      },
      close: () => resolve("cut"),
      error: () => resolve("cut"),
    },
  });
  more(socket);
  const seen = await promise;
  socket.terminate();
  return seen;
}
