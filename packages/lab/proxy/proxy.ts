/**
 * A TCP proxy that simulates a bad network, with toxiproxy's concepts: a proxy between `listen` and
 * `upstream`, and toxics on either direction. It runs in this process. Differences from toxiproxy:
 * `reset_peer` resets both sides, and `timeout` drops the end of a connection too, as when a cable
 * is pulled.
 */
import { createServer, connect, type Server, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { freePorts } from "../host/ports.ts";
import { type Stream, type Toxic, toxicOf, type ToxicRequest } from "./toxics.ts";
import { nowUs } from "../host/waiting.ts";

/** The bytes that one direction of a connection buffers; then its sender has to wait. */
const BUFFER_BYTES = 64 * 1024;
/** The longest time that one portion occupies a bandwidth-limited line. */
const PORTION_MS = 50;

/** A proxy's counters since its start. */
export interface Counters {
  connections: number;
  /** Bytes that were forwarded. */
  upstream_bytes: number;
  downstream_bytes: number;
  /** Connections that were ended by an RST of the proxy's own. */
  resets: number;
  /** How often a toxic took effect: delayed or dropped bytes or an end, or closed a connection. */
  struck: number;
}

export interface ProxyOptions {
  name?: string;
  /** `host:port`; a free port of 127.0.0.1 when it isn't given. */
  listen?: string;
  /** `host:port` of the server. */
  upstream: string;
}

/** Starts a proxy and returns when it listens. Throws when its port is taken. */
export async function startProxy(options: ProxyOptions): Promise<FaultProxy> {
  const listen = options.listen ?? `127.0.0.1:${(await freePorts(1))[0]}`;
  const proxy = new FaultProxy(options.name ?? options.upstream, listen, options.upstream);
  await proxy.enable();
  return proxy;
}

/** A proxy and the connections through it. */
export class FaultProxy implements AsyncDisposable {
  readonly name: string;
  readonly listen: string;
  readonly upstream: string;
  readonly counters: Counters = {
    connections: 0,
    upstream_bytes: 0,
    downstream_bytes: 0,
    resets: 0,
    struck: 0,
  };
  readonly #connections = new Set<Connection>();
  #toxics: Toxic[] = [];
  #server: Server | undefined;

  /** Use `startProxy`. */
  constructor(name: string, listen: string, upstream: string) {
    this.name = name;
    this.listen = listen;
    this.upstream = upstream;
  }

  get toxics(): readonly Toxic[] {
    return this.#toxics;
  }

  get enabled(): boolean {
    return this.#server !== undefined;
  }

  /** Connections that are open now. */
  get open(): number {
    return this.#connections.size;
  }

  /** Adds a toxic, for the connections that are open too. Throws when it isn't valid or its name is taken. */
  add(request: ToxicRequest): Toxic {
    const toxic = toxicOf(request);
    if (this.#toxics.some(({ name }) => name === toxic.name)) {
      throw new Error(`there is a toxic ${toxic.name} already`);
    }
    this.#toxics.push(toxic);
    for (const connection of this.#connections) connection.begin(toxic);
    return toxic;
  }

  /**
   * Removes a toxic; false when there is none of that name. Bytes that it held back are forwarded.
   */
  remove(name: string): boolean {
    const toxic = this.#toxics.find((one) => one.name === name);
    if (toxic === undefined) return false;
    this.#toxics = this.#toxics.filter((one) => one !== toxic);
    for (const connection of this.#connections) connection.forget(toxic);
    return true;
  }

  /** Removes all toxics. */
  clear(): void {
    for (const { name } of this.#toxics) this.remove(name);
  }

  /** Starts to listen, if it doesn't. Throws when the port is taken. */
  async enable(): Promise<void> {
    if (this.#server !== undefined) return;
    const server = createServer({ allowHalfOpen: true }, (client) => this.#accept(client));
    const { promise, reject, resolve } = Promise.withResolvers<void>();
    server.once("error", reject);
    server.listen({ ...addressOf(this.listen), exclusive: true }, resolve);
    await promise;
    this.#server = server;
  }

  /** Takes the proxy down: closes every connection and refuses new ones. */
  async disable(): Promise<void> {
    const server = this.#server;
    if (server === undefined) return;
    this.#server = undefined;
    const closed = new Promise((resolve) => server.close(resolve));
    this.cut();
    await closed;
  }

  /**
   * Silences the open connections for good, while new ones work: half-open, as when a firewall has
   * dropped their state. toxiproxy has no such toxic.
   */
  freeze(): void {
    for (const connection of this.#connections) {
      connection.begin(toxicOf({ type: "timeout", stream: "upstream" }));
      connection.begin(toxicOf({ type: "timeout", stream: "downstream" }));
    }
  }

  /** Closes every connection, once. */
  cut(): void {
    for (const connection of this.#connections) connection.cut();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.disable();
  }

  #accept(client: Socket): void {
    // A connection may arrive when the server is already closed.
    if (this.#server === undefined) {
      client.destroy();
      return;
    }
    this.counters.connections += 1;
    const server = connect({ ...addressOf(this.upstream), allowHalfOpen: true });
    const connection = new Connection(client, server, this.counters, () =>
      this.#connections.delete(connection),
    );
    this.#connections.add(connection);
    for (const toxic of this.#toxics) connection.begin(toxic);
  }
}

/** A client, the server, and the two directions between them. */
class Connection {
  readonly #links: Record<Stream, Link>;
  readonly #sockets: [Socket, Socket];
  readonly #counters: Counters;
  readonly #onClose: () => void;
  #open = 2;

  constructor(client: Socket, server: Socket, counters: Counters, onClose: () => void) {
    this.#sockets = [client, server];
    this.#counters = counters;
    this.#onClose = onClose;
    const through = (stream: Stream) => (bytes: number) => (counters[`${stream}_bytes`] += bytes);
    this.#links = {
      upstream: new Link(client, server, this, through("upstream")),
      downstream: new Link(server, client, this, through("downstream")),
    };
    for (const socket of this.#sockets) {
      // Small writes are forwarded as they were received.
      socket.setNoDelay(true);
      socket.on("close", () => {
        this.#open -= 1;
        if (this.#open === 0) this.#closed();
      });
    }
  }

  begin(toxic: Toxic): void {
    if (Math.random() < toxic.toxicity) this.#links[toxic.stream].begin(toxic);
  }

  forget(toxic: Toxic): void {
    this.#links[toxic.stream].forget(toxic);
  }

  /** Closes both sides. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy();
  }

  /** An RST for both sides. */
  reset(): void {
    this.#counters.resets += 1;
    for (const socket of this.#sockets) socket.resetAndDestroy();
  }

  noteStruck(): void {
    this.#counters.struck += 1;
  }

  #closed(): void {
    this.#links.upstream.stop();
    this.#links.downstream.stop();
    this.#onClose();
  }
}

/** Bytes and their time of arrival, or the end of a direction. */
interface Piece {
  bytes: Buffer | undefined;
  atUs: number;
  /** The end was an error: the other side must see one, too. */
  broken?: boolean;
}

/** A toxic's state for one direction of one connection. */
interface Dose {
  /** Bytes that `limit_data` has passed. */
  passed: number;
  /** When the line of `bandwidth` is free again. */
  freeUs: number;
  timer?: ReturnType<typeof setTimeout>;
}

/** One direction of a connection. */
class Link {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #connection: Connection;
  readonly #count: (bytes: number) => void;
  /** The toxics that apply to it, in the order in which they were added. */
  readonly #doses = new Map<Toxic, Dose>();
  readonly #pieces: Piece[] = [];
  #bufferedBytes = 0;
  #stopped = false;
  #arrived = Promise.withResolvers<void>();
  /** Aborts every wait of a toxic. */
  #changed = new AbortController();

  constructor(from: Socket, to: Socket, connection: Connection, count: (bytes: number) => void) {
    this.#from = from;
    this.#to = to;
    this.#connection = connection;
    this.#count = count;
    let broken = false;
    from.on("data", (bytes) => this.#take({ bytes: Buffer.from(bytes), atUs: nowUs() }));
    from.on("end", () => this.#take({ bytes: undefined, atUs: nowUs() }));
    from.on("error", () => (broken = true));
    from.on("close", () => this.#take({ bytes: undefined, atUs: nowUs(), broken }));
    void this.#run();
  }

  begin(toxic: Toxic): void {
    const dose: Dose = { passed: 0, freeUs: 0 };
    this.#doses.set(toxic, dose);
    if (toxic.type === "timeout" && toxic.attributes.timeout > 0) {
      dose.timer = setTimeout(() => this.#connection.cut(), toxic.attributes.timeout);
    }
  }

  forget(toxic: Toxic): void {
    const dose = this.#doses.get(toxic);
    if (dose === undefined) return;
    clearTimeout(dose.timer);
    this.#doses.delete(toxic);
    // Part of the stream was dropped: the connection must not continue after a gap.
    if (toxic.type === "timeout") this.#connection.cut();
    this.#changed.abort();
    this.#changed = new AbortController();
  }

  stop(): void {
    this.#stopped = true;
    for (const toxic of this.#doses.keys()) this.forget(toxic);
    this.#arrived.resolve();
    this.#changed.abort();
  }

  #take(piece: Piece): void {
    this.#pieces.push(piece);
    this.#bufferedBytes += piece.bytes?.length ?? 0;
    if (this.#bufferedBytes >= BUFFER_BYTES) this.#from.pause();
    this.#arrived.resolve();
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      const piece = this.#pieces.shift();
      if (piece === undefined) {
        this.#arrived = Promise.withResolvers<void>();
        await this.#arrived.promise;
        continue;
      }
      await this.#pass(piece, [...this.#doses]);
      this.#bufferedBytes -= piece.bytes?.length ?? 0;
      if (this.#bufferedBytes < BUFFER_BYTES && this.#from.isPaused()) this.#from.resume();
    }
  }

  /** Passes a piece through the remaining toxics, and then to the other side. */
  async #pass(piece: Piece, doses: [Toxic, Dose][]): Promise<void> {
    const [first, ...rest] = doses;
    if (first === undefined) return this.#deliver(piece);
    const [toxic, dose] = first;
    // The toxic was removed while the piece was in transit.
    if (!this.#doses.has(toxic)) return this.#pass(piece, rest);
    const { type, attributes } = toxic;
    switch (type) {
      case "latency": {
        this.#connection.noteStruck();
        const { jitter, latency } = attributes;
        const delayMs = latency + jitter * (2 * Math.random() - 1);
        await this.#wait(delayMs - (nowUs() - piece.atUs) / 1_000);
        return this.#pass(piece, rest);
      }
      case "bandwidth":
        for (const portion of portionsOf(piece, attributes.rate * PORTION_MS)) {
          const takesUs = ((portion.bytes?.length ?? 0) * 1_000) / attributes.rate;
          dose.freeUs = Math.max(dose.freeUs, nowUs()) + takesUs;
          this.#connection.noteStruck();
          await this.#wait((dose.freeUs - nowUs()) / 1_000);
          await this.#pass(portion, rest);
        }
        return;
      case "timeout":
        this.#connection.noteStruck();
        return;
      case "reset_peer":
        if (piece.bytes === undefined) return this.#pass(piece, rest);
        await this.#wait(attributes.timeout);
        // If it was removed meanwhile, it has no effect.
        if (!this.#doses.has(toxic)) return;
        this.#connection.noteStruck();
        this.#connection.reset();
        return;
      case "limit_data": {
        const bytes = piece.bytes?.subarray(0, attributes.bytes - dose.passed);
        dose.passed += bytes?.length ?? 0;
        if (bytes === undefined || bytes.length > 0) await this.#pass({ ...piece, bytes }, rest);
        if (dose.passed < attributes.bytes || !this.#doses.has(toxic)) return;
        this.#connection.noteStruck();
        this.#close();
        return;
      }
      case "slow_close":
        if (piece.bytes !== undefined) return this.#pass(piece, rest);
        this.#connection.noteStruck();
        await this.#wait(attributes.delay);
        return this.#pass(piece, rest);
      default:
        return type satisfies never;
    }
  }

  async #deliver({ broken, bytes }: Piece): Promise<void> {
    if (this.#to.destroyed) return;
    if (bytes === undefined) {
      if (broken === true) this.#to.resetAndDestroy();
      else this.#to.end();
      return;
    }
    this.#count(bytes.length);
    if (this.#to.write(bytes)) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#to.once("drain", resolve).once("close", resolve);
    await promise;
    this.#to.off("drain", resolve).off("close", resolve);
  }

  /** Closes both sides once pending writes are flushed. */
  #close(): void {
    this.#to.end(() => this.#connection.cut());
  }

  /** Waits that long, or until the toxics change. */
  async #wait(durationMs: number): Promise<void> {
    if (durationMs <= 0) return;
    await sleep(durationMs, undefined, { signal: this.#changed.signal }).catch(() => {});
  }
}

/** Splits a piece into pieces of at most that many bytes. */
function* portionsOf(piece: Piece, mostBytes: number): Generator<Piece> {
  if (piece.bytes === undefined) return yield piece;
  for (let at = 0; at < piece.bytes.length; at += mostBytes) {
    yield { ...piece, bytes: piece.bytes.subarray(at, at + mostBytes) };
  }
}

function addressOf(text: string): { host: string; port: number } {
  const { hostname, port } = new URL(`tcp://${text}`);
  return { host: hostname, port: Number(port) };
}
