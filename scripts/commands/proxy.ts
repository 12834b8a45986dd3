import { serveProxies } from "@lab/lab/proxy/proxy-api";
import { type Command, UsageError } from "../command.ts";

/** The default port of toxiproxy's clients. */
const PORT = 8474;

export const command: Command = {
  summary: "serve TCP proxies that can be a bad network, in the words of toxiproxy",
  usage: "[--port N]",
  details: `POST /proxies {name, upstream} starts a proxy and tells where it listens; POST /proxies/NAME/toxics
{type, stream, attributes} makes it bad: latency, bandwidth, timeout, reset_peer, limit_data, slow_close.
POST /proxies/NAME {enabled: false} is down, POST /reset makes all good again. Until Ctrl-C.`,
  options: {
    port: { type: "number", least: 0, most: 65535, summary: `of the API on 127.0.0.1 (${PORT})` },
  },
  async run({ options, words }) {
    if (words.length > 0) throw new UsageError("proxy takes no words");
    const port = Number(options["port"] ?? PORT);
    await using server = serveProxies(port);
    console.log(`${server.url}/proxies`);
    const ended = Promise.withResolvers<void>();
    process.once("SIGINT", ended.resolve).once("SIGTERM", ended.resolve);
    await ended.promise;
    return 0;
  },
};
