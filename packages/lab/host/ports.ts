import { createServer, type Server } from "node:net";
import { eventually } from "./waiting.ts";

// Below the range from which Linux (32768 and up) and macOS (49152 and up) take the ports of outgoing connections. A broker that is down for a
// while would otherwise find its port in use by a client, or a client could even connect to itself.
const lowest = 20_000;
const highest = 32_000;

/** Of the ports given out by this process: until it ends, their services may be down for a moment. */
const claims: Bun.udp.Socket<"buffer">[] = [];

/**
 * That many different TCP ports of 127.0.0.1 on which nobody listens now, and that no process of a
 * lab on this machine has been given. They belong to this process until it ends.
 */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = lowest + Math.floor(Math.random() * (highest - lowest));
    if ((await claim(port)) && (await isFree(port))) ports.push(port);
  }
  return ports;
}

/**
 * Whether nobody had claimed it. The claim is the UDP port of the same number, which the lab has no
 * other use for: the system gives one to a single process, and takes it back at that one's end.
 */
async function claim(port: number): Promise<boolean> {
  try {
    const socket = await Bun.udpSocket({ port, hostname: "127.0.0.1" });
    socket.unref();
    claims.push(socket);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EADDRINUSE") return false;
    throw error;
  }
}

/** Whether nobody listens on that port of 127.0.0.1. */
export async function isFree(port: number): Promise<boolean> {
  const server = await listen(port);
  await new Promise((done) => (server === undefined ? done(undefined) : server.close(done)));
  return server !== undefined;
}

/**
 * Whether the port is free, or becomes free within a moment: a process that was just killed may
 * still have its port.
 */
export async function becomesFree(port: number): Promise<boolean> {
  return eventually(`port ${port} is free`, () => isFree(port), { timeoutMs: 2_000 }).catch(
    () => false,
  );
}

/** Throws for a port in use that the broker needs again. */
export async function assertPortsFree(name: string, ports: readonly number[]): Promise<void> {
  for (const port of ports) {
    if (await becomesFree(port)) continue;
    throw new Error(
      `port ${port} is in use, and ${name} is to have it again: stop what runs there`,
    );
  }
}

function listen(port: number): Promise<Server | undefined> {
  const server = createServer();
  return new Promise((done) => {
    server.once("error", () => done(undefined));
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => done(server));
  });
}
