import { expect, test } from "bun:test";
import { connect, createServer, type Socket } from "node:net";
import { freePorts, isFree } from "../host/ports.ts";
import { startProxy } from "./proxy.ts";
import { eventually, nowUs, settled } from "../host/waiting.ts";

/** An echo server, and a proxy in front of it. */
async function proxiedEcho() {
  const heard: Buffer[] = [];
  const sockets = new Set<Socket>();
  const ends: string[] = [];
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    socket.on("data", (bytes) => {
      heard.push(Buffer.from(bytes));
      socket.write(bytes);
    });
    socket.on("end", () => socket.end());
    socket.on("error", (error) => ends.push((error as { code?: string }).code ?? "error"));
    socket.on("close", () => {
      sockets.delete(socket);
      ends.push("close");
    });
  });
  const [port] = await freePorts(1);
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  const proxy = await startProxy({ upstream: `127.0.0.1:${port}` });
  return {
    proxy,
    /** How the server saw its connections end. */
    ends,
    sockets,
    heard: () => Buffer.concat(heard).toString(),
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A client that records what it receives and how its connection ends. */
async function dial(listen: string) {
  const socket = connect({ port: Number(listen.split(":")[1]), host: "127.0.0.1" });
  const got: Buffer[] = [];
  const ends: string[] = [];
  let bytes = 0;
  socket.on("data", (data) => {
    bytes += data.length;
    if (bytes < 1_000_000) got.push(Buffer.from(data));
  });
  socket.on("error", (error) => ends.push((error as { code?: string }).code ?? "error"));
  const closed = new Promise<string>((resolve) =>
    socket.on("close", () => resolve(ends[0] ?? "closed")),
  );
  await new Promise<void>((resolve) => {
    socket.once("connect", resolve);
    socket.once("close", resolve);
  });
  const text = () => Buffer.concat(got).toString();
  return {
    socket,
    /** `closed`, or the error's code. */
    closed,
    bytes: () => bytes,
    text,
    hears: (wanted: string) =>
      eventually(`hears ${wanted}`, () => text() === wanted, { timeoutMs: 5_000, everyMs: 1 }),
    async [Symbol.asyncDispose]() {
      socket.destroy();
      await closed;
    },
  };
}

test("without toxics everything gets through, and is counted", async () => {
  await using echo = await proxiedEcho();
  await using client = await dial(echo.proxy.listen);
  client.socket.write("hello");
  await client.hears("hello");
  client.socket.end();
  expect(await client.closed).toBe("closed");
  await eventually("the connection is forgotten", () => echo.proxy.open === 0);
  expect(echo.proxy.counters).toEqual({
    connections: 1,
    upstream_bytes: 5,
    downstream_bytes: 5,
    resets: 0,
    struck: 0,
  });
  expect(echo.ends).toEqual(["close"]);
});

test("many bytes arrive in order, whatever the toxics' portions", async () => {
  await using echo = await proxiedEcho();
  echo.proxy.add({ type: "latency", stream: "upstream", attributes: { latency: 5, jitter: 5 } });
  echo.proxy.add({ type: "bandwidth", attributes: { rate: 20_000 } });
  await using client = await dial(echo.proxy.listen);
  const sent = Array.from({ length: 40_000 }, (_, n) => String(n)).join();
  client.socket.write(sent);
  await client.hears(sent);
});

test("latency delays each direction, and not one byte after another", async () => {
  await using echo = await proxiedEcho();
  echo.proxy.add({ type: "latency", stream: "upstream", attributes: { latency: 60 } });
  echo.proxy.add({ type: "latency", stream: "downstream", attributes: { latency: 40 } });
  await using client = await dial(echo.proxy.listen);
  const startUs = nowUs();
  for (const letter of "abcdefghij") {
    client.socket.write(letter);
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await client.hears("abcdefghij");
  const tookMs = (nowUs() - startUs) / 1_000;
  expect(tookMs).toBeGreaterThanOrEqual(100);
  // Delayed one after another they would take a second.
  expect(tookMs).toBeLessThan(800);
  expect(echo.proxy.counters.struck).toBeGreaterThan(1);
});

test("a toxic that is taken away lets go of what it holds", async () => {
  await using echo = await proxiedEcho();
  const { name } = echo.proxy.add({ type: "latency", attributes: { latency: 60_000 } });
  expect(name).toBe("latency_downstream");
  await using client = await dial(echo.proxy.listen);
  client.socket.write("hello");
  await eventually("the server has heard it", () => echo.heard() === "hello");
  await settled("nothing comes back", client.text, { forMs: 50 });
  expect(echo.proxy.remove(name)).toBe(true);
  await client.hears("hello");
  expect(echo.proxy.remove(name)).toBe(false);
});

test("bandwidth lets so many bytes through", async () => {
  await using echo = await proxiedEcho();
  echo.proxy.add({ type: "bandwidth", stream: "upstream", attributes: { rate: 100 } });
  await using client = await dial(echo.proxy.listen);
  const startUs = nowUs();
  client.socket.write("x".repeat(30_000));
  await eventually("all is back", () => client.bytes() === 30_000);
  expect((nowUs() - startUs) / 1_000).toBeGreaterThanOrEqual(295);
  expect(echo.proxy.counters.struck).toBeGreaterThan(0);
});

test("a sender faster than the line has to wait: the proxy doesn't keep it all", async () => {
  await using echo = await proxiedEcho();
  echo.proxy.add({ type: "bandwidth", stream: "upstream", attributes: { rate: 100 } });
  await using client = await dial(echo.proxy.listen);
  const chunk = Buffer.alloc(64 * 1024);
  for (let n = 0; n < 512; n += 1) client.socket.write(chunk);
  await eventually("some got through", () => echo.proxy.counters.upstream_bytes > 50_000);
  // Of 32 MiB the kernel buffers some, and the proxy next to nothing.
  expect(client.socket.writableLength).toBeGreaterThan(16 * 1024 * 1024);
});

test("timeout: what is sent vanishes, the request alone or the reply alone", async () => {
  for (const [stream, heard] of [
    ["upstream", ""],
    ["downstream", "hello"],
  ] as const) {
    await using echo = await proxiedEcho();
    await using client = await dial(echo.proxy.listen);
    echo.proxy.add({ type: "timeout", stream });
    client.socket.write("hello");
    await eventually("it is where it can be", () => echo.heard() === heard);
    await settled("and nowhere else", () => [echo.heard(), client.text()], { forMs: 50 });
    expect(echo.proxy.counters.struck).toBe(1);
    // After a gap in the stream the connection must not continue.
    echo.proxy.clear();
    expect(await client.closed).toBe("closed");
  }
});

test("timeout closes the connection after its time, idle or not", async () => {
  await using echo = await proxiedEcho();
  echo.proxy.add({ type: "timeout", attributes: { timeout: 60 } });
  const startUs = nowUs();
  await using client = await dial(echo.proxy.listen);
  expect(await client.closed).toBe("closed");
  expect((nowUs() - startUs) / 1_000).toBeGreaterThanOrEqual(55);
});

test("timeout hides the end, too: a half-open connection", async () => {
  await using echo = await proxiedEcho();
  await using client = await dial(echo.proxy.listen);
  client.socket.write("hello");
  await client.hears("hello");
  echo.proxy.add({ type: "timeout", stream: "upstream" });
  client.socket.destroy();
  await client.closed;
  expect(await settled("the server's side", () => echo.sockets.size, { forMs: 50 })).toBe(1);
  echo.proxy.clear();
  await eventually("it hears of it", () => echo.sockets.size === 0);
});

test("frozen connections are silent for good, new ones are fine", async () => {
  await using echo = await proxiedEcho();
  await using old = await dial(echo.proxy.listen);
  old.socket.write("hello");
  await old.hears("hello");
  echo.proxy.freeze();
  old.socket.write("lost");
  await using fresh = await dial(echo.proxy.listen);
  fresh.socket.write("world");
  await fresh.hears("world");
  old.socket.destroy();
  const seen = () => [echo.heard(), old.text(), echo.sockets.size];
  expect(await settled("nobody hears of it", seen, { forMs: 50 })).toEqual([
    "helloworld",
    "hello",
    2,
  ]);
});

test("reset_peer is an RST for both, instead of what was sent", async () => {
  await using echo = await proxiedEcho();
  await using client = await dial(echo.proxy.listen);
  echo.proxy.add({ type: "reset_peer", attributes: { timeout: 20 } });
  const startUs = nowUs();
  client.socket.write("hello");
  expect(await client.closed).toBe("ECONNRESET");
  expect((nowUs() - startUs) / 1_000).toBeGreaterThanOrEqual(19);
  await eventually("the server's side ends, too", () => echo.ends.length === 2);
  expect({ heard: echo.heard(), text: client.text(), ends: echo.ends }).toEqual({
    heard: "hello",
    text: "",
    ends: ["ECONNRESET", "close"],
  });
  expect(echo.proxy.counters).toMatchObject({ resets: 1, struck: 1 });
});

test("limit_data closes after so many bytes", async () => {
  await using echo = await proxiedEcho();
  echo.proxy.add({ type: "limit_data", attributes: { bytes: 7 } });
  await using client = await dial(echo.proxy.listen);
  client.socket.write("hello");
  await client.hears("hello");
  expect(echo.proxy.counters.struck).toBe(0);
  client.socket.write("world");
  expect(await client.closed).toBe("closed");
  expect(client.text()).toBe("hellowo");
  expect(echo.proxy.counters.struck).toBeGreaterThan(0);
});

test("slow_close delays the end alone", async () => {
  await using echo = await proxiedEcho();
  echo.proxy.add({ type: "slow_close", attributes: { delay: 60 } });
  await using client = await dial(echo.proxy.listen);
  client.socket.write("hello");
  await client.hears("hello");
  const startUs = nowUs();
  client.socket.end();
  expect(await client.closed).toBe("closed");
  expect((nowUs() - startUs) / 1_000).toBeGreaterThanOrEqual(55);
  expect(echo.proxy.counters.struck).toBeGreaterThan(0);
});

test("down cuts and refuses; up again takes the same port", async () => {
  await using echo = await proxiedEcho();
  const { proxy } = echo;
  await using first = await dial(proxy.listen);
  await proxy.disable();
  expect(await first.closed).toBe("closed");
  await using refused = await dial(proxy.listen);
  expect(await refused.closed).toBe("ECONNREFUSED");
  await proxy.enable();
  await using second = await dial(proxy.listen);
  second.socket.write("hello");
  await second.hears("hello");
});

test("a server that isn't there breaks the connection", async () => {
  const [nobody] = await freePorts(1);
  await using proxy = await startProxy({ upstream: `127.0.0.1:${nobody}` });
  await using client = await dial(proxy.listen);
  expect(await client.closed).toBe("ECONNRESET");
  await eventually("it is forgotten", () => proxy.open === 0);
});

test("the end of one side is passed on, and an error as an error", async () => {
  await using echo = await proxiedEcho();
  await using client = await dial(echo.proxy.listen);
  client.socket.write("hello");
  await client.hears("hello");
  client.socket.resetAndDestroy();
  await eventually("the server's side ends", () => echo.ends.length === 2);
  expect(echo.ends).toEqual(["ECONNRESET", "close"]);
});

test("toxicity is a share of the connections", async () => {
  await using echo = await proxiedEcho();
  echo.proxy.add({ type: "reset_peer", toxicity: 0 });
  await using client = await dial(echo.proxy.listen);
  client.socket.write("hello");
  await client.hears("hello");
});

test("what isn't a toxic is refused, with every wrong place", async () => {
  await using echo = await proxiedEcho();
  const add = (request: unknown) => () => echo.proxy.add(request as never);
  expect(add({ type: "rain" })).toThrow("/type");
  expect(add({ type: "latency", attributes: { latency: -1 } })).toThrow("/attributes/latency");
  expect(add({ type: "latency", attributes: { bytes: 1 } })).toThrow("/attributes/bytes");
  expect(add({ type: "timeout", stream: "sideways" })).toThrow("/stream");
  add({ type: "timeout" })();
  expect(add({ type: "timeout" })).toThrow("there is a toxic timeout_downstream already");
});

test("an ended proxy leaves its port free", async () => {
  let listen: string;
  {
    await using echo = await proxiedEcho();
    ({ listen } = echo.proxy);
  }
  expect(await isFree(Number(listen.split(":")[1]))).toBe(true);
});
